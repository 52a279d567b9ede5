<?php

declare(strict_types=1);

/*
 * Says what PHP was given, as JSON; stands in for Mautic's front controller. Every path is a route of
 * its own, also those that Mautic does not know.
 */
header('X-Probe: 1');
header('Content-Type: application/json');

// As Mautic does with everybody who is not logged in.
if (str_starts_with($_SERVER['REQUEST_URI'], '/s/ajax') && !isset($_COOKIE['mautic_session'])) {
    header('Location: /s/login', true, 302);

    return;
}

if ('/slow' === strtok($_SERVER['REQUEST_URI'], '?')) {
    file_put_contents('/tmp/slow-started', 'yes');
    usleep(2_000_000);
}

echo json_encode([
    'script'        => __FILE__,
    'server'        => array_filter($_SERVER, static fn (string $name): bool => 1 === preg_match('/^(HTTP|REMOTE|REQUEST|SCRIPT|SERVER|QUERY|DOCUMENT)/', $name), ARRAY_FILTER_USE_KEY),
    'body_bytes'    => strlen((string) file_get_contents('php://input')),
    'memory_limit'  => ini_get('memory_limit'),
    'html_filler'   => str_repeat('filler ', 400),
], JSON_THROW_ON_ERROR | JSON_UNESCAPED_SLASHES);
