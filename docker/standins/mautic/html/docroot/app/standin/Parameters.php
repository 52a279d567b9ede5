<?php

declare(strict_types=1);

namespace Standin;

use RuntimeException;

/**
 * Mautic's parameters, found in Mautic's order: defaults, local.php, parameters_local.php,
 * MAUTIC_CONFIG_PARAMETERS (JSON), and above all a variable MAUTIC_<PARAMETER>.
 *
 * As in Mautic every string is resolved: %name% is a reference, a percent sign itself must be doubled.
 */
final class Parameters
{
    /** The file that mautic:install writes and that says whether there is an installation. */
    public readonly string $localFile;

    /** @var array<string, mixed> what localFile says, before anything else is laid over it */
    public readonly array $local;

    /** @var array<string, mixed> */
    private readonly array $values;

    public function __construct()
    {
        $paths = self::variable(PROJECT.'/config/paths_local.php', 'paths');
        $file = $paths['local_config'] ?? PROJECT.'/config/local.php';
        $this->localFile = str_replace('%kernel.project_dir%', PROJECT, $file);
        $this->local = self::variable($this->localFile, 'parameters');
        $json = getenv('MAUTIC_CONFIG_PARAMETERS');
        $this->values = array_merge(
            self::defaults(),
            $this->local,
            self::variable(PROJECT.'/config/parameters_local.php', 'parameters'),
            false === $json || '' === $json ? [] : json_decode($json, true, 16, JSON_THROW_ON_ERROR),
        );
    }

    public function get(string $key): string
    {
        $variable = 'MAUTIC_'.strtoupper($key);
        // Mautic puts what it has read into $_ENV, where no variable of that name is in its way.
        $value = $_ENV[$variable] ?? $_SERVER[$variable] ?? $this->values[$key] ?? '';

        return (string) preg_replace_callback('/%%|%([^%\s]+)%/', static fn (array $found): string => match ($found[0]) {
            '%%'                       => '%',
            '%kernel.project_dir%'     => PROJECT,
            '%mautic.application_dir%' => PROJECT.'/docroot',
            default                    => throw new RuntimeException("parameter \"{$found[1]}\" must be defined (in \"{$key}\"; a percent sign is written %%)"),
        }, (string) $value);
    }

    /** As Mautic's installer decides it: from the file alone, whatever the environment says. */
    public function isInstalled(): bool
    {
        return !empty($this->local['db_driver']) && !empty($this->local['site_url']);
    }

    /** @return array<string, mixed> what the bundles say */
    private static function defaults(): array
    {
        $files = glob(PROJECT.'/docroot/app/bundles/*/Config/config.php');

        return array_merge(...array_map(static fn (string $file): array => (require $file)['parameters'] ?? [], $files));
    }

    /** @return array<string, mixed> the variable $name that a PHP file sets, [] without the file */
    private static function variable(string $file, string $name): array
    {
        if (is_file($file)) {
            include $file;
        }

        return $$name ?? [];
    }
}
