<?php

declare(strict_types=1);

/**
 * Copies the trees SOURCE… into TARGET, each under its own name; equal files become hard links.
 * merge-warm.php TARGET SOURCE…
 */
$target = $argv[1];
$known = [];
foreach (array_slice($argv, 2) as $source) {
    $base = $target.'/'.basename($source);
    mkdir($base, 0755, true);
    $tree = new RecursiveIteratorIterator(
        new RecursiveDirectoryIterator($source, FilesystemIterator::SKIP_DOTS),
        RecursiveIteratorIterator::SELF_FIRST,
    );
    foreach ($tree as $path => $info) {
        $copy = $base.substr($path, strlen($source));
        if ($info->isDir()) {
            mkdir($copy, 0755);
            continue;
        }
        $digest = hash_file('xxh128', $path);
        if (isset($known[$digest])) {
            link($known[$digest], $copy) || exit(1);
            continue;
        }
        copy($path, $copy) || exit(1);
        chmod($copy, 0644);
        $known[$digest] = $copy;
    }
}
