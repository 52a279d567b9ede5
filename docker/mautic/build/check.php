<?php

declare(strict_types=1);

/**
 * Refuses a build that could not run: check.php PROJECT OWN_CONFIG PHP.
 *
 * The PHP limits are compared as Mautic compares them (VersionCheckMiddleware): with
 * version_compare() of the full version, so a maximum of "8.2" excludes 8.2.29.
 */
[, $project, $own, $wanted] = $argv;

$fail = static function (string $sentence): never {
    fwrite(STDERR, $sentence."\n");
    exit(1);
};

$file = $project.'/docroot/app/release_metadata.json';
$metadata = is_file($file) ? json_decode((string) file_get_contents($file), true) : null;
if (!is_array($metadata) || !isset($metadata['version'], $metadata['minimum_php_version'], $metadata['maximum_php_version'])) {
    $fail('MAUTIC_IMAGE has no readable app/release_metadata.json: this is not a Mautic tree.');
}
['version' => $version, 'minimum_php_version' => $minimum, 'maximum_php_version' => $maximum] = $metadata;
if (version_compare(PHP_VERSION, $minimum, 'lt') || version_compare(PHP_VERSION, $maximum, 'gt')) {
    $fail("Mautic {$version} runs on PHP {$minimum} to {$maximum}, but PHP={$wanted} of this Debian is ".PHP_VERSION.': choose other DEBIAN and PHP arguments (trixie has 8.4, bookworm 8.2).');
}

$ours = [
    'local.php'           => 'put fixed parameters into parameters_local.php',
    'paths_local.php'     => 'put fixed parameters into parameters_local.php',
    'config_override.php' => 'put container settings into config_local.php, which is loaded later',
];
foreach ($ours as $name => $instead) {
    if (file_exists($own.'/'.$name)) {
        $fail("docker/mautic/config/{$name} would replace the image's own config/{$name}: {$instead}.");
    }
}
