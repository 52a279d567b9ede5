<?php

declare(strict_types=1);

require_once '/opt/mautic/waiting.php';

/** Held by whoever changes a branch's database as a whole: one at a time, whatever program it is. */
final class DatabaseLock
{
    private const TRY_SECONDS = 5;

    /**
     * Takes the lock; the connection holds it to its end.
     *
     * @throws Stop when somebody else has held it all the time
     */
    public static function take(PDO $server, string $database, Waiting $waiting, int $waitSeconds): void
    {
        // The connection may be idle while commands run.
        $server->exec('SET SESSION wait_timeout = 86400');
        $name = $server->quote(self::name($database));
        $deadline = time() + $waitSeconds;
        // Asked without patience first: whoever has to wait says so at once.
        for ($seconds = 0; 1 !== (int) $server->query("SELECT GET_LOCK({$name}, {$seconds})")->fetchColumn(); $seconds = min(self::TRY_SECONDS, $waitSeconds)) {
            $waiting->breakOnSignal();
            $holder = $server->query("SELECT IS_USED_LOCK({$name})")->fetchColumn();
            $sentence = "another migration runs (database connection {$holder})";
            if (time() >= $deadline) {
                throw new Stop("{$sentence} (after {$waitSeconds} s)", Stop::IN_VAIN, 'migration-lock');
            }
            $waiting->on('migration-lock', $sentence);
        }
    }

    /** Gives it back before the connection ends. */
    public static function release(PDO $server, string $database): void
    {
        $server->query('SELECT RELEASE_LOCK('.$server->quote(self::name($database)).')')->fetchColumn();
    }

    /** Locks belong to the server, not to the database; their names have at most 64 characters. */
    public static function name(string $database): string
    {
        return 'mautic-migrate:'.substr(hash('sha256', $database), 0, 32);
    }
}
