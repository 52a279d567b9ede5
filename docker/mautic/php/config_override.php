<?php

/*
 * Settings of the compiled container. Mautic loads this before config_local.php, which is yours
 * (docker/mautic/config/config_local.php) and wins.
 */

// The session cookie is Secure when the request came over HTTPS, whatever site_url was at build.
$container->loadFromExtension('framework', ['session' => ['cookie_secure' => 'auto']]);

// Logs go to stderr, where the container engine collects them.
$container->loadFromExtension('monolog', ['handlers' => [
    'nested' => ['type' => 'stream', 'path' => 'php://stderr', 'level' => 'error'],
    'mautic' => ['type' => 'stream', 'path' => 'php://stderr', 'level' => 'notice'],
]]);
