<?php

declare(strict_types=1);

/**
 * Lists the parameters of a Mautic and its plugins with the types of their defaults, as Mautic itself
 * finds them (ParameterLoader): parameters.php PROJECT FILE
 */
[, $project, $file] = $argv;
if (is_file("{$project}/vendor/autoload.php")) {
    require "{$project}/vendor/autoload.php";
}
$fail = static function (string $path, int $line, string $sentence) use ($project): never {
    $place = str_replace("{$project}/docroot/plugins/", 'docker/mautic/plugins/', $path);
    fwrite(STDERR, "{$place}:{$line}: {$sentence}\n");
    exit(1);
};

$types = [];
foreach (['app/bundles', 'plugins'] as $folder) {
    foreach (glob("{$project}/docroot/{$folder}/*/Config/config.php") ?: [] as $config) {
        try {
            $found = (static fn (string $path): mixed => include $path)($config);
        } catch (Throwable $error) {
            $fail($error->getFile(), $error->getLine(), $error->getMessage());
        }
        // An empty one that an older Mautic left among its own is read over, as Mautic does.
        if ('plugins' === $folder && !is_array($found)) {
            $fail($config, 1, 'returns no array');
        }
        $types = array_map(get_debug_type(...), $found['parameters'] ?? []) + $types;
    }
}
if (!isset($types['db_host'])) {
    fwrite(STDERR, "no app/bundles/*/Config/config.php has the parameter db_host: this is not a Mautic tree.\n");
    exit(1);
}
ksort($types);
file_put_contents($file, '<?php return '.var_export($types, true).";\n");
