<?php

declare(strict_types=1);

/**
 * Refuses translations of our own that Mautic would pass over in silence, by file and line:
 * translations.php OWN
 */
[, $own] = $argv;
$fail = static function (string $place, int $line, string $sentence): never {
    fwrite(STDERR, "docker/mautic/translations/{$place}:{$line}: {$sentence}\n");
    exit(1);
};

$reason = '';
set_error_handler(static function (int $level, string $message) use (&$reason): bool {
    $reason = $message;

    return true;
});
$files = new RecursiveIteratorIterator(new RecursiveDirectoryIterator($own, FilesystemIterator::SKIP_DOTS));
foreach ($files as $path => $file) {
    $place = substr($path, strlen($own) + 1);
    $isText = str_ends_with($place, '.ini');
    if ($isText && in_array(dirname($place), ['.', 'overrides'], true)) {
        $fail($place, 1, 'Mautic reads LANGUAGE/… and overrides/LANGUAGE/… alone');
    }
    if ($isText && false === parse_ini_string((string) file_get_contents($path), true)) {
        // "syntax error, unexpected '(' in Unknown on line 3"
        preg_match('~^(.*?)(?: in Unknown)? on line (\d+)~s', trim($reason), $found);
        $fail($place, (int) ($found[2] ?? 1), $found[1] ?? 'no INI');
    }
    if ('config.json' === basename($path) && !is_array(json_decode((string) file_get_contents($path), true))) {
        $fail($place, 1, 'no JSON: '.json_last_error_msg());
    }
}
