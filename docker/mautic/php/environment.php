<?php

declare(strict_types=1);

/**
 * Reads settings from the environment: NAME, or the file that NAME_FILE names.
 *
 * Only getenv() is read, never $_ENV: MauticEnvironment::export() writes $_ENV, and Mautic includes
 * local.php several times in one process.
 */
final class MauticEnvironment
{
    /** References to container parameters that Symfony is meant to resolve. */
    private const REFERENCE = '/%(?:kernel|mautic)\.[a-z_.]+%/';

    public static function get(string $name, ?string $default = null): ?string
    {
        $value = getenv($name);
        if (false !== $value && '' !== $value) {
            return $value;
        }
        $file = getenv($name.'_FILE');
        if (false === $file || '' === $file) {
            return $default;
        }
        $content = @file_get_contents($file);
        if (false === $content) {
            throw new RuntimeException("{$name}_FILE names {$file}, which cannot be read");
        }

        return rtrim($content, "\r\n");
    }

    /**
     * A list: a JSON array, or items separated by commas or blanks.
     *
     * @return list<string>
     */
    public static function list(string $name): array
    {
        $value = trim((string) self::get($name));
        if (str_starts_with($value, '[')) {
            return array_values(array_map('strval', json_decode($value, true, 8, JSON_THROW_ON_ERROR)));
        }

        return preg_split('/[\s,]+/', $value, -1, PREG_SPLIT_NO_EMPTY);
    }

    /**
     * Makes Symfony see these values as they are.
     *
     * Mautic reads its parameters as %env(resolve:MAUTIC_…)%, in which a percent sign starts a
     * reference and must be doubled; a list must be JSON. A variable in $_ENV beats local.php.
     *
     * @param array<string, mixed> $parameters Mautic's parameters, by their names in local.php
     */
    public static function export(array $parameters): void
    {
        foreach (getenv() as $name => $value) {
            $isParameter = str_starts_with($name, 'MAUTIC_') && !str_ends_with($name, '_FILE') && 'MAUTIC_CONFIG_PARAMETERS' !== $name;
            if ($isParameter && str_contains($value, '%')) {
                $_ENV[$name] = $_SERVER[$name] = self::escape($value);
            }
        }
        foreach ($parameters as $key => $value) {
            $name = 'MAUTIC_'.strtoupper($key);
            if (is_array($value)) {
                $_ENV[$name] = $_SERVER[$name] = json_encode($value, JSON_THROW_ON_ERROR | JSON_UNESCAPED_SLASHES);
            } elseif (is_string($value) && str_contains($value, '%')) {
                $_ENV[$name] = $_SERVER[$name] = self::escape($value);
            }
        }
    }

    /** Says whether this process looks for new plugins: mautic:plugins:reload, or its button. */
    public static function installsPlugins(): bool
    {
        return 'cli' === php_sapi_name()
            ? [] !== preg_grep('/^mautic:plugins:/', $_SERVER['argv'] ?? [])
            : (bool) preg_match('~/s/plugins/reload(?:\?|$)~', $_SERVER['REQUEST_URI'] ?? '');
    }

    private static function escape(string $value): string
    {
        $parts = preg_split(self::REFERENCE, $value);
        preg_match_all(self::REFERENCE, $value, $references);
        $escaped = str_replace('%', '%%', (string) array_shift($parts));
        foreach ($parts as $i => $part) {
            $escaped .= $references[0][$i].str_replace('%', '%%', $part);
        }

        return $escaped;
    }
}
