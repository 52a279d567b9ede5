<?php

declare(strict_types=1);

/** Moves the folders of SOURCE into TARGET; equal files become hard links. link-equal.php SOURCE TARGET */
[, $source, $target] = $argv;
$known = [];
foreach (glob($source.'/*', GLOB_ONLYDIR) as $folder) {
    $base = $target.'/'.basename($folder);
    mkdir($base, 0755);
    $tree = new RecursiveIteratorIterator(
        new RecursiveDirectoryIterator($folder, FilesystemIterator::SKIP_DOTS),
        RecursiveIteratorIterator::SELF_FIRST,
    );
    foreach ($tree as $path => $info) {
        $place = $base.substr($path, strlen($folder));
        if ($info->isDir()) {
            mkdir($place, 0755);
            continue;
        }
        $digest = hash_file('xxh128', $path);
        $done = isset($known[$digest]) ? link($known[$digest], $place) : rename($path, $place) && chmod($place, 0644);
        if (!$done) {
            exit(1);
        }
        $known[$digest] ??= $place;
    }
}
