<?php

declare(strict_types=1);

/**
 * Makes a branch's database and user on a database server, or drops both. Safe to run again.
 *
 *   database.php create   the user gets the password given, all rights on that database and on those beside
 *                         it (its name, two underscores, a character: swap.php), and may read the masked
 *                         data that all branches share (the prefix, "seed", two underscores, an id)
 *   database.php drop     open connections are ended
 *
 * Environment, each also as NAME_FILE: MAUTIC_DB_HOST, MAUTIC_DB_PORT; MAUTIC_DB_DATABASE and
 * MAUTIC_DB_USER, which must begin with MAUTIC_DB_PREFIX; MAUTIC_DB_PASSWORD (create);
 * MAUTIC_DB_ADMIN_USER and MAUTIC_DB_ADMIN_PASSWORD of a user who may create databases and users, or
 * MAUTIC_DB_ADMIN_SECRET_ARN of a secret in AWS Secrets Manager with that user's `username` and
 * `password`, read with the pod's own identity; MAUTIC_DB_WAIT in seconds.
 *
 * Exit status: 0 done, 1 a statement failed, 64 used wrongly, 75 no server, or no answer about the
 * secret, in time, 77 the server refuses the administrator or its host is unknown, or AWS refuses the
 * secret, 78 a setting is missing or a name is not allowed, 143 stopped by a signal.
 */
require_once '/opt/mautic/waiting.php';
require_once '/opt/mautic/secrets_manager.php';

final class BranchDatabase
{
    /** Limits of MySQL (8.4 manual, "Identifier Length Limits", "CREATE USER"). */
    private const DATABASE_LENGTH = 64;
    private const USER_LENGTH = 32;
    private const SERVERS_OWN = ['mysql', 'sys', 'information_schema', 'performance_schema'];
    private const UNKNOWN_VARIABLE = 1193;
    private const NO_SUCH_THREAD = 1094;
    /** How long a statement may wait for a table that somebody still uses. */
    private const LOCK_SECONDS = 30;

    private readonly Waiting $waiting;
    private PDO $server;
    private string $database;
    private string $user;
    private readonly string $prefix;

    public function __construct()
    {
        $prefix = $this->setting('MAUTIC_DB_PREFIX');
        if (!preg_match('/\A[a-z][a-z0-9_]*_\z/', $prefix)) {
            throw new Stop("MAUTIC_DB_PREFIX must be a-z, 0-9 and _ and end with _, not '{$prefix}'", Stop::WRONG_SETTING);
        }
        $this->prefix = $prefix;
        $this->database = $this->name('MAUTIC_DB_DATABASE', $prefix, self::DATABASE_LENGTH);
        if (str_contains(substr($this->database, strlen($prefix)), '__')) {
            throw new Stop("MAUTIC_DB_DATABASE must not have __ in it, not '{$this->database}': those are beside others", Stop::WRONG_SETTING);
        }
        $this->user = $this->name('MAUTIC_DB_USER', $prefix, self::USER_LENGTH);
        $this->waiting = new Waiting('database');
    }

    public function create(): void
    {
        $password = $this->setting('MAUTIC_DB_PASSWORD');
        $this->connect();
        $this->server->exec("CREATE DATABASE IF NOT EXISTS `{$this->database}` CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci");
        $account = $this->account();
        $secret = $this->server->quote($password);
        $this->server->exec("CREATE USER IF NOT EXISTS {$account} IDENTIFIED BY {$secret}");
        // It may be there already with the password of an environment that was there before.
        $this->server->exec("ALTER USER {$account} IDENTIFIED BY {$secret}");
        foreach ($this->grants() as $pattern => $rights) {
            $this->server->exec("GRANT {$rights} ON `{$pattern}`.* TO {$account}");
        }
        $this->say("{$this->database} and its user {$this->user} are there");
    }

    public function drop(): void
    {
        $this->connect();
        // First the user: nobody comes back in while the connections are being ended.
        $this->server->exec("DROP USER IF EXISTS {$this->account()}");
        $this->endConnections();
        $this->server->exec('SET SESSION lock_wait_timeout = '.self::LOCK_SECONDS);
        foreach ([...$this->beside(), $this->database] as $name) {
            $this->server->exec("DROP DATABASE IF EXISTS `{$name}`");
        }
        $this->say("{$this->database} and its user {$this->user} are gone");
    }

    private function connect(): void
    {
        [$administrator, $password] = $this->administrator();
        $this->server = $this->waiting->connect(
            $this->setting('MAUTIC_DB_HOST'), (int) MauticEnvironment::get('MAUTIC_DB_PORT', '3306'), '',
            $administrator, $password, microtime(true) + (int) MauticEnvironment::get('MAUTIC_DB_WAIT', '60'),
        );
    }

    /**
     * @return array{string, string} user and password
     */
    private function administrator(): array
    {
        $arn = (string) MauticEnvironment::get('MAUTIC_DB_ADMIN_SECRET_ARN');
        if ('' === $arn) {
            return [$this->setting('MAUTIC_DB_ADMIN_USER'), $this->setting('MAUTIC_DB_ADMIN_PASSWORD')];
        }
        $secret = SecretsManager::read($arn);
        if (!is_string($secret['username'] ?? null) || !is_string($secret['password'] ?? null)) {
            throw new Stop("the secret {$arn} lacks username or password", Stop::WRONG_SETTING);
        }

        return [$secret['username'], $secret['password']];
    }

    private function endConnections(): void
    {
        $beside = $this->beside();
        foreach ($this->server->query('SHOW FULL PROCESSLIST')->fetchAll(PDO::FETCH_ASSOC) as $connection) {
            $isOnIt = $connection['db'] === $this->database || in_array($connection['db'], $beside, true);
            if (!$isOnIt && $connection['User'] !== $this->user) {
                continue;
            }
            try {
                $this->server->exec('KILL '.(int) $connection['Id']);
            } catch (PDOException $e) {
                if (self::NO_SUCH_THREAD !== $e->errorInfo[1]) {
                    // Dropping goes on: it waits for the tables that are still in use, but not for ever.
                    $this->say("connection {$connection['Id']} of {$connection['User']} cannot be ended: {$e->getMessage()}");
                }
            }
        }
    }

    /**
     * What the user may do, by the names of databases as GRANT takes them: _ stands for any character there,
     * and mautic_a_b would be open to the user of mautic_a1b. A server with partial_revokes takes names as
     * they are: no pattern, so those beside it are named one by one, and none may be read that has no name yet.
     *
     * @return array<string, string>
     */
    private function grants(): array
    {
        try {
            $isLiteral = (bool) $this->server->query('SELECT @@GLOBAL.partial_revokes')->fetchColumn();
        } catch (PDOException $e) {
            if (self::UNKNOWN_VARIABLE !== $e->errorInfo[1]) {
                throw $e;
            }
            $isLiteral = false;
        }
        if ($isLiteral) {
            $beside = array_map(fn (string $each): string => "{$this->database}__{$each}", ['n', 'o', ...range('0', '9')]);
            $reads = [];
        } else {
            $beside = [self::escaped("{$this->database}__").'%'];
            $reads = [self::escaped("{$this->prefix}seed__").'%' => 'SELECT'];
        }
        if (strlen($beside[0]) > self::DATABASE_LENGTH || $this->isNamedAsSeeds()) {
            $this->say("{$this->database} can have no databases beside it, because of its name: no dump can be loaded into it");
            $beside = [];
        }

        return [$isLiteral ? $this->database : self::escaped($this->database) => 'ALL PRIVILEGES']
            + array_fill_keys($beside, 'ALL PRIVILEGES') + $reads;
    }

    /** @return list<string> the databases beside the branch's own */
    private function beside(): array
    {
        if ($this->isNamedAsSeeds()) {
            return [];
        }
        $start = "{$this->database}__";
        $found = $this->server->prepare('SELECT schema_name FROM information_schema.schemata WHERE LEFT(schema_name, ?) = ?');
        $found->execute([strlen($start), $start]);

        return $found->fetchAll(PDO::FETCH_COLUMN);
    }

    /** The databases beside this one would be those of the masked data of all branches. */
    private function isNamedAsSeeds(): bool
    {
        return "{$this->prefix}seed" === $this->database;
    }

    private static function escaped(string $name): string
    {
        return str_replace('_', '\_', $name);
    }

    private function account(): string
    {
        return "'{$this->user}'@'%'";
    }

    /** Names stand in statements as they are: only what needs no quoting is let through. */
    private function name(string $setting, string $prefix, int $length): string
    {
        $name = $this->setting($setting);
        $isAllowed = preg_match('/\A[a-z0-9_]+\z/', $name) && strlen($name) <= $length
            && str_starts_with($name, $prefix) && $name !== $prefix && !in_array($name, self::SERVERS_OWN, true);
        if (!$isAllowed) {
            throw new Stop("{$setting} must be at most {$length} of a-z, 0-9 and _ and begin with {$prefix}, not '{$name}'", Stop::WRONG_SETTING);
        }

        return $name;
    }

    private function setting(string $name): string
    {
        $value = (string) MauticEnvironment::get($name);
        if ('' === $value) {
            throw new Stop("{$name} (or {$name}_FILE) is not set", Stop::WRONG_SETTING);
        }

        return $value;
    }

    private function say(string $message): void
    {
        $this->waiting->say($message);
    }
}

runOrExit('database', static function () use ($argv): void {
    try {
        $database = new BranchDatabase();
        match ($argv[1] ?? '') {
            'create' => $database->create(),
            'drop' => $database->drop(),
            default => throw new Stop('say create or drop', Stop::USAGE),
        };
    } catch (SecretError $e) {
        throw new Stop($e->getMessage(), $e->getCode());
    }
});
