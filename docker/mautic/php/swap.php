<?php

declare(strict_types=1);

require_once '/opt/mautic/database_lock.php';
require_once '/opt/mautic/settled.php';
require_once '/opt/mautic/waiting.php';

/**
 * Gives a branch's database other tables, all of them in one statement.
 *
 *   $swap = new Swap($server, $database, $waiting);
 *   $new = $swap->begin();   an empty database beside the branch's own, to be filled by whoever calls
 *   $swap->finish();         its tables take the place of the branch's own, which are dropped
 *
 * NAME__n is what is being filled, NAME__o is what was there before. RENAME TABLE moves all tables in one
 * atomic step (MySQL 8.0, MariaDB 10.6 and later), foreign keys follow. So whoever is killed leaves the old
 * tables or the new ones, and what lies about is removed by the next begin(). Only one at a time may do
 * this: take DatabaseLock first.
 */
final class Swap
{
    private const NEW = '__n';
    private const OLD = '__o';
    /** While RENAME waits for a table that somebody uses, everybody else waits behind it: not for long at once. */
    private const LOCK_SECONDS = 5;
    private const LOCK_TIMEOUT = 1205;
    /** How long a migration that a killed run has left in the database beside may take to end. */
    private const ORPHAN_SECONDS = 60;
    /** "Access denied" to a database, or to a statement. */
    private const DENIED = [1044, 1142, 1227];

    /**
     * @param PDO    $server      as the branch's own user
     * @param string $database    the branch's
     * @param int    $waitSeconds how long finish() waits for tables that somebody uses
     */
    public function __construct(
        private readonly PDO $server,
        private readonly string $database,
        private readonly Waiting $waiting,
        private readonly int $waitSeconds = 120,
    ) {
    }

    /**
     * Removes what a run that was killed has left, and makes an empty database.
     *
     * @return string its name; definitions without a database's name go there after USE
     *
     * @throws Stop when the branch's user may not make it
     */
    public function begin(): string
    {
        // An empty database whose tables lie beside it was emptied by a run that was killed: what was there
        // before goes away when something else has come, or when the same is run again.
        if ([] !== $this->tables($this->database)) {
            $this->drop(self::OLD);
        }
        $name = $this->database.self::NEW;
        // Whoever still migrates it would write into the new one.
        DatabaseLock::take($this->server, $name, $this->waiting, self::ORPHAN_SECONDS);
        $this->drop(self::NEW);
        $this->make(self::NEW);
        DatabaseLock::release($this->server, $name);

        return $name;
    }

    /**
     * Swaps, and drops the tables that were there before.
     *
     * @param string $keep suffix of a database, made here, where these are kept instead; empty: nowhere
     * @param string $from suffix of the database whose tables take their place, and which is gone then
     * @param Replacement|null $with what changes along with the tables
     *
     * @return int how many tables the branch's database has now
     *
     * @throws Stop when tables stay in use for too long, or cannot be moved; then nothing has changed
     */
    public function finish(string $keep = '', string $from = self::NEW, ?Replacement $with = null): int
    {
        $old = $this->tables($this->database);
        $new = $this->tables($this->database.$from);
        $moves = [];
        if ([] !== $old) {
            $moves = $this->moves($old, $this->database, $this->remake($keep ?: self::OLD));
        }
        // Those that go first: a foreign key's name is there once in a database.
        $moves = [...$moves, ...$this->moves($new, $this->database.$from, $this->database)];
        if ([] !== $moves) {
            try {
                $this->rename('RENAME TABLE '.implode(', ', $moves));
            } catch (Stop|PDOException $e) {
                // Nothing has come there.
                $this->drop($keep ?: self::OLD);
                throw $e;
            }
        }
        $with?->finish();
        $this->drop(self::OLD);
        $this->drop($from);

        return count($new);
    }

    /** Removes the database that begin() has made, when it will not be filled. */
    public function discard(): void
    {
        $this->drop(self::NEW);
    }

    /**
     * Makes another database beside the branch's own, empty, whatever was there.
     *
     * @return string its name
     *
     * @throws Stop when the branch's user may not make it
     */
    public function remake(string $suffix): string
    {
        $this->drop($suffix);

        return $this->make($suffix);
    }

    private function rename(string $statement): void
    {
        $this->server->exec('SET SESSION lock_wait_timeout = '.self::LOCK_SECONDS);
        // Without it the server would not let foreign keys follow.
        $this->server->exec('SET SESSION foreign_key_checks = 1');
        $deadline = microtime(true) + $this->waitSeconds;
        while (true) {
            $this->waiting->breakOnSignal();
            try {
                $this->server->exec($statement);

                return;
            } catch (PDOException $e) {
                if (self::LOCK_TIMEOUT !== $e->errorInfo[1]) {
                    throw $e;
                }
                $sentence = "tables of {$this->database} are in use";
                if (microtime(true) >= $deadline) {
                    throw new Stop("{$sentence} (after {$this->waitSeconds} s); they are as they were", Stop::IN_VAIN, 'database-in-use');
                }
                $this->waiting->on('database-in-use', $sentence);
                $this->waiting->pause();
            }
        }
    }

    /**
     * @param list<string> $tables
     *
     * @return list<string>
     */
    private function moves(array $tables, string $from, string $to): array
    {
        return array_map(static function (string $table) use ($from, $to): string {
            $name = self::quoted($table);

            return self::quoted($from).".{$name} TO ".self::quoted($to).".{$name}";
        }, $tables);
    }

    /**
     * @return list<string>
     *
     * @throws Stop when there is something that no server moves between databases
     */
    private function tables(string $database): array
    {
        $fixed = $this->column("SELECT CONCAT('view ', table_name) FROM information_schema.views WHERE table_schema = ? UNION ALL SELECT CONCAT('trigger ', trigger_name) FROM information_schema.triggers WHERE trigger_schema = ?", [$database, $database]);
        if ([] !== $fixed) {
            throw new Stop("{$database} has what cannot be moved to another database: ".implode(', ', $fixed), Stop::FAILED);
        }

        return Settled::read(fn (): array => $this->column('SELECT table_name FROM information_schema.tables WHERE table_schema = ? ORDER BY table_name', [$database]));
    }

    /**
     * @param list<string> $values
     *
     * @return list<string>
     */
    private function column(string $query, array $values): array
    {
        $statement = $this->server->prepare($query);
        $statement->execute($values);

        return $statement->fetchAll(PDO::FETCH_COLUMN);
    }

    private function make(string $suffix): string
    {
        $name = $this->database.$suffix;
        $this->allowed('CREATE DATABASE '.self::quoted($name).' CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci', $name);

        return $name;
    }

    /** Drops a database beside the branch's own, if there is one. */
    public function drop(string $suffix): void
    {
        $name = $this->database.$suffix;
        $this->allowed('DROP DATABASE IF EXISTS '.self::quoted($name), $name);
    }

    private function allowed(string $statement, string $name): void
    {
        try {
            $this->server->exec($statement);
        } catch (PDOException $e) {
            if (!in_array($e->errorInfo[1], self::DENIED, true)) {
                throw $e;
            }
            throw new Stop("Mautic's user has no right to the database {$name} beside its own ({$e->getMessage()}). Deploy the branch again: that grants it", Stop::REFUSED, Obstacle::ACCESS_DENIED);
        }
    }

    private static function quoted(string $name): string
    {
        return '`'.str_replace('`', '``', $name).'`';
    }
}
