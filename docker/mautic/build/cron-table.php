<?php

declare(strict_types=1);

/** Refuses a cron.json of our own that the role `cron` cannot run, by its line: cron-table.php OWN_CONFIG */
require '/opt/mautic/jobs.php';

$file = $argv[1].'/cron.json';
if (!is_file($file)) {
    exit(0);
}
$json = (string) file_get_contents($file);
$fail = static function (int $line, string $sentence): never {
    fwrite(STDERR, "docker/mautic/config/cron.json:{$line}: {$sentence}\n");
    exit(1);
};

$changes = json_decode($json, true);
if (JSON_ERROR_NONE !== json_last_error()) {
    $reason = json_last_error_msg();
    $fail(wrongLine($json), "no JSON: {$reason}");
}
if (!is_array($changes) || ([] !== $changes && array_is_list($changes))) {
    $fail(1, 'must be a JSON object of jobs by their names');
}
putenv('MAUTIC_CRON_TABLE=/opt/mautic/cron.json');
foreach ($changes as $name => $change) {
    // Each by itself, since not every sentence names its job.
    putenv('MAUTIC_CRON_JOBS='.json_encode([$name => $change]));
    try {
        Job::fromEnvironment();
    } catch (InvalidArgumentException $error) {
        $key = preg_quote(json_encode((string) $name, JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE), '/');
        $before = preg_match("/{$key}\s*:/", $json, $found, PREG_OFFSET_CAPTURE) ? $found[0][1] : 0;
        $fail(1 + substr_count($json, "\n", 0, $before), preg_replace('/^MAUTIC_CRON_JOBS:? /', '', $error->getMessage()));
    }
}

/** The first line up to which no JSON begins like that: PHP itself does not tell where its parser stopped. */
function wrongLine(string $json): int
{
    $lines = explode("\n", $json);
    $read = '';
    foreach ($lines as $i => $line) {
        $read .= $line."\n";
        $open = (string) preg_replace('/"(?:\\\\.|[^"\\\\])*"|[^][{}]/s', '', $read);
        do {
            $open = str_replace(['{}', '[]'], '', $open, $closed);
        } while ($closed > 0);
        $close = strrev(strtr($open, '{[', '}]'));
        foreach (['', '0', ':0', '"":0'] as $next) {
            if (null !== json_decode($read.$next.$close)) {
                continue 2;
            }
        }

        return $i + 1;
    }

    return max(1, count($lines) - (int) ('' === end($lines)));
}
