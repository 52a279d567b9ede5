<?php

declare(strict_types=1);

/** Variables cannot be what they are; each line of the message names one and says what it must be. */
final class WrongVariable extends RuntimeException
{
}

/**
 * Reads settings from the environment: NAME, or the file that NAME_FILE names.
 *
 * Only getenv() is read, never $_ENV: export() writes $_ENV, and Mautic includes local.php several
 * times in one process.
 */
final class MauticEnvironment
{
    /** The parameters that this image's Mautic and plugins have, with their types (build/parameters.php). */
    private const KNOWN = '/opt/mautic/parameters.php';
    /** What docker/mautic/config/parameters_local.php is called in the image. */
    private const OWN = '/var/www/html/config/parameters_own.php';
    /** Also without JSON: items separated by commas or blanks. */
    private const LISTS = ['trusted_proxies', 'trusted_hosts', 'cors_valid_domains'];
    /** What the official image calls it. */
    private const ALIASES = ['db_name' => 'MAUTIC_DB_DATABASE'];
    /** References to container parameters that Symfony is meant to resolve. */
    private const REFERENCE = '/%(?:kernel|mautic)\.[a-z_.]+%/';

    /** @var array<string, mixed>|null */
    private static ?array $parameters = null;
    private static bool $isExported = false;

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
            throw new WrongVariable("{$name}_FILE names {$file}, which cannot be read");
        }

        return rtrim($content, "\r\n");
    }

    /**
     * Mautic's parameters as far as they are given: by their own variables, then by
     * MAUTIC_CONFIG_PARAMETERS (JSON), then by what was built into the image.
     *
     * @return array<string, mixed> by their names in local.php
     *
     * @throws WrongVariable
     */
    public static function parameters(): array
    {
        return self::$parameters ??= self::read();
    }

    /** @return array<string, string> the type of each parameter that this Mautic has */
    public static function known(): array
    {
        return is_file(self::KNOWN) ? require self::KNOWN : [];
    }

    /** @return array<string, mixed> the parameters that were built into the image */
    public static function own(): array
    {
        $parameters = [];
        if (is_file(self::OWN)) {
            include self::OWN;
        }

        return $parameters;
    }

    /**
     * The variables of a program that works on another database of the same server as the same user.
     *
     * @return array<string, string>
     */
    public static function forDatabase(string $database): array
    {
        $given = array_diff_key(getenv(), array_flip(['MAUTIC_DB_NAME_FILE', 'MAUTIC_DB_DATABASE', 'MAUTIC_DB_DATABASE_FILE']));
        $configured = json_decode($given['MAUTIC_CONFIG_PARAMETERS'] ?? '', true);
        if (isset($configured['db_name'])) {
            $given['MAUTIC_CONFIG_PARAMETERS'] = json_encode(array_diff_key($configured, ['db_name' => 0]), JSON_THROW_ON_ERROR | JSON_FORCE_OBJECT);
        }

        return ['MAUTIC_DB_NAME' => $database] + $given;
    }

    /**
     * The options of a connection to the database: with MAUTIC_DB_TLS_CA_FILE it is by TLS, and the
     * server's certificate and name are checked.
     *
     * @return array<int, mixed> by PDO's constants
     */
    public static function databaseOptions(): array
    {
        $file = (string) getenv('MAUTIC_DB_TLS_CA_FILE');

        return '' === $file ? [] : [PDO::MYSQL_ATTR_SSL_CA => $file, PDO::MYSQL_ATTR_SSL_VERIFY_SERVER_CERT => true];
    }

    /**
     * Makes Symfony see these values as they are, once in a process.
     *
     * Mautic puts its parameters into $_ENV by itself, as what they are there (JSON, seconds for
     * minutes), where no variable of the same name is in its way. It reads them as
     * %env(resolve:MAUTIC_…)%, in which a percent sign starts a reference and must be doubled.
     *
     * @param array<string, mixed> $parameters Mautic's parameters, by their names in local.php
     */
    public static function export(array $parameters): void
    {
        if (self::$isExported) {
            return;
        }
        self::$isExported = true;
        foreach (getenv() as $name => $value) {
            if (str_starts_with($name, 'MAUTIC_') && '' === $value) {
                // None: Mautic would take it for one, and not look for its default.
                unset($_ENV[$name], $_SERVER[$name]);
            } elseif (str_starts_with($name, 'MAUTIC_') && !str_ends_with($name, '_FILE') && 'MAUTIC_CONFIG_PARAMETERS' !== $name && str_contains($value, '%')) {
                $_ENV[$name] = $_SERVER[$name] = self::escape($value);
            }
        }
        foreach ($parameters as $key => $value) {
            $name = 'MAUTIC_'.strtoupper($key);
            unset($_ENV[$name], $_SERVER[$name]);
            $text = is_array($value) ? json_encode($value, JSON_THROW_ON_ERROR | JSON_UNESCAPED_SLASHES) : $value;
            // Mautic takes its default in place of an empty list.
            if (is_array($value) || (is_string($text) && str_contains($text, '%'))) {
                $_ENV[$name] = $_SERVER[$name] = self::escape($text);
            }
        }
    }

    /** @return array<string, mixed> */
    private static function read(): array
    {
        $parameters = self::variables() + self::configured() + self::own();
        if (false !== getenv('MAUTIC_INSTALL_CONFIG')) {
            // With a site_url mautic:install says "already installed".
            unset($parameters['site_url']);
        }
        if (self::installsPlugins()) {
            // A queue in the database brings its table into every schema that is made, also into that
            // of a plugin: "Table 'messenger_messages' already exists".
            $parameters = ['messenger_dsn_email' => 'sync://', 'messenger_dsn_hit' => 'sync://', 'messenger_dsn_failed' => 'null://'] + $parameters;
        }

        return $parameters;
    }

    /** @return array<string, mixed> */
    private static function variables(): array
    {
        $given = $wrong = [];
        foreach (self::known() as $key => $type) {
            try {
                if (null !== $value = self::variable($key)) {
                    $given[$key] = self::typed('MAUTIC_'.strtoupper($key), $key, $type, $value);
                }
            } catch (WrongVariable $e) {
                $wrong[] = $e->getMessage();
            }
        }

        return [] === $wrong ? $given : throw new WrongVariable(implode("\n", $wrong));
    }

    private static function variable(string $key): ?string
    {
        $value = self::get($name = 'MAUTIC_'.strtoupper($key));
        $alias = self::ALIASES[$key] ?? null;
        $other = null === $alias ? null : self::get($alias);
        if (null !== $value && null !== $other && $value !== $other) {
            throw new WrongVariable("{$name} and {$alias} mean the same and differ: leave one of them out");
        }

        return $value ?? $other;
    }

    /** @return array<string, mixed> */
    private static function configured(): array
    {
        $name = 'MAUTIC_CONFIG_PARAMETERS';
        $given = '' === ($json = (string) getenv($name)) ? [] : self::json($name, $json);
        foreach (array_keys($given) as $key) {
            foreach (array_filter(['MAUTIC_'.strtoupper((string) $key), self::ALIASES[$key] ?? null]) as $variable) {
                // Mautic lays this over everything else once more.
                if (null !== self::get($variable)) {
                    throw new WrongVariable("{$variable} is in {$name} too: leave one of them out");
                }
            }
        }

        return $given;
    }

    private static function typed(string $name, string $key, string $type, string $value): mixed
    {
        [$typed, $must] = match ($type) {
            'bool' => [filter_var($value, FILTER_VALIDATE_BOOL, FILTER_NULL_ON_FAILURE), 'be true or false'],
            'int' => [preg_match('/\A-?\d{1,18}\z/', $value) ? (int) $value : null, 'be a whole number'],
            'float' => [is_numeric($value) ? (float) $value : null, 'be a number'],
            'array' => [in_array($key, self::LISTS, true) && !preg_match('/\A\s*[\[{]/', $value)
                ? preg_split('/[\s,]+/', $value, -1, PREG_SPLIT_NO_EMPTY)
                : self::json($name, $value), ''],
            default => [$value, ''],
        };

        return $typed ?? throw new WrongVariable("{$name} must {$must}, not '{$value}'");
    }

    /** @return array<int|string, mixed> */
    private static function json(string $name, string $text): array
    {
        $value = json_decode($text, true, 16);

        // Without the text: there may be a password in it.
        return is_array($value) ? $value : throw new WrongVariable("{$name} must be JSON, an array or an object");
    }

    /** Says whether this process looks for new plugins: mautic:plugins:reload, or its button. */
    private static function installsPlugins(): bool
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
