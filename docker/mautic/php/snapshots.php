<?php

declare(strict_types=1);

require_once '/opt/mautic/migrations.php';
require_once '/opt/mautic/swap.php';
require_once '/opt/mautic/table_copy.php';

/**
 * Points in time of a branch's database, each a database of its own beside it, named NAME__0 to NAME__9.
 *
 * What a snapshot is stands in a table of its own, which is made last: without it a snapshot is what a run
 * that was killed has left. Whoever calls holds DatabaseLock.
 */
final class Snapshots
{
    private const LABEL = 'mautic_multidev_snapshot';
    private const DIGITS = 10;
    /** Writers wait while it is taken; and it waits for transactions that have written. */
    private const LOCK_SECONDS = 30;
    private const LOCK_TIMEOUT = 1205;

    private readonly string $database;
    private readonly Swap $swap;

    /**
     * @param array<string, mixed> $parameters Mautic's parameters, as in local.php
     * @param PDO                  $server     connected to the branch's database as its own user
     */
    public function __construct(#[SensitiveParameter] private readonly array $parameters, private readonly PDO $server, private readonly Waiting $waiting)
    {
        $this->database = $parameters['db_name'];
        $this->swap = new Swap($server, $this->database, $waiting);
    }

    /**
     * Takes one, and drops the oldest beyond a number.
     *
     * Readers are not held up; writers are, so that all tables are of one moment.
     *
     * @param string $why  what it is taken for
     * @param int    $most how many are kept, this one with them; 1 to 9
     *
     * @return string its name
     *
     * @throws Stop when tables stay in use, or the branch's user may not make databases beside its own
     */
    public function take(string $why, int $most): string
    {
        $whole = $this->all();
        $names = array_column($whole, 'name');
        $free = array_values(array_diff(array_map(strval(...), range(0, self::DIGITS - 1)), $names));
        $name = $free[0];
        $started = microtime(true);
        $tables = TableCopy::tables($this->server, $this->database);
        TableCopy::endOrphans($this->server, $this->parameters);
        $copy = $this->swap->remake("__{$name}");
        $lock = $this->lock($tables);
        try {
            $rows = $this->copy($this->database, $copy, $tables);
            $label = Source::identifier($copy).'.'.self::LABEL;
            $this->server->exec("CREATE TABLE {$label} (taken_at DATETIME NOT NULL, mautic VARCHAR(64) NOT NULL, why VARCHAR(255) NOT NULL, table_count INT NOT NULL, row_count BIGINT NOT NULL)");
            $this->server->prepare("INSERT INTO {$label} VALUES (UTC_TIMESTAMP(), ?, ?, ?, ?)")->execute([(string) Migrations::mautic(), mb_substr($why, 0, 255), count($tables), $rows]);
        } finally {
            $lock->exec('UNLOCK TABLES');
        }
        // Only now that there is another.
        foreach (array_slice($names, 0, max(0, count($names) + 1 - $most)) as $old) {
            $this->drop($old);
        }
        $this->waiting->say(sprintf('snapshot %s: %d rows of %d tables in %.1f s', $name, $rows, count($tables), microtime(true) - $started));

        return $name;
    }

    /** @return list<array{name: string, taken_at: string, mautic: string, why: string, tables: int, rows: int}> the oldest first */
    public function all(): array
    {
        $found = [];
        $databases = $this->server->prepare('SELECT table_schema FROM information_schema.tables WHERE table_name = ? AND table_schema REGEXP ?');
        $databases->execute([self::LABEL, '^'.preg_quote($this->database).'__[0-9]$']);
        foreach ($databases->fetchAll(PDO::FETCH_COLUMN) as $database) {
            $label = $this->server->query('SELECT taken_at, mautic, why, table_count, row_count FROM '.Source::identifier($database).'.'.self::LABEL)->fetch(PDO::FETCH_NUM);
            if (false !== $label) {
                [$at, $mautic, $why, $tables, $rows] = $label;
                $found[] = ['name' => substr($database, -1), 'taken_at' => str_replace(' ', 'T', $at).'Z', 'mautic' => $mautic, 'why' => $why, 'tables' => (int) $tables, 'rows' => (int) $rows];
            }
        }
        usort($found, static fn (array $one, array $other): int => [$one['taken_at'], $one['name']] <=> [$other['taken_at'], $other['name']]);

        return $found;
    }

    /**
     * Puts the tables of a snapshot in the place of the branch's own, in one step; the snapshot stays.
     *
     * @param string $name which; an empty string is the newest
     *
     * @throws Stop when there is no such snapshot; then nothing has changed
     */
    public function restore(string $name): void
    {
        $all = $this->all();
        $found = '' === $name ? end($all) : current(array_filter($all, static fn (array $each): bool => $each['name'] === $name));
        if (false === $found) {
            throw new Stop([] === $all ? "{$this->database} has no snapshot" : "{$this->database} has no snapshot {$name}, but ".implode(', ', array_column($all, 'name')), Stop::REFUSED, 'snapshot-missing');
        }
        $started = microtime(true);
        $from = "{$this->database}__{$found['name']}";
        $tables = array_values(array_diff(TableCopy::tables($this->server, $from), [self::LABEL]));
        TableCopy::endOrphans($this->server, $this->parameters);
        $rows = $this->copy($from, $this->swap->begin(), $tables);
        $this->swap->finish();
        $this->waiting->say(sprintf('snapshot %s of %s is back: %d rows of %d tables in %.1f s', $found['name'], $found['taken_at'], $rows, count($tables), microtime(true) - $started));
    }

    /** @param list<string> $tables */
    private function copy(string $from, string $to, array $tables): int
    {
        $copy = new TableCopy($this->parameters, $this->server, $this->waiting, $from, $to, $tables);
        try {
            $copy->define();

            return $copy->fill($this->columns(...));
        } finally {
            $this->server->exec('USE '.Source::identifier($this->database));
        }
    }

    /** @return array<string, string> the stored columns of a table of the database in use, as they are */
    private function columns(string $table): array
    {
        $columns = $this->server->query('SHOW COLUMNS FROM '.Source::identifier($table))->fetchAll(PDO::FETCH_ASSOC);
        $stored = array_filter($columns, static fn (array $column): bool => !Source::isGenerated($column['Extra']));
        $names = array_map(Source::identifier(...), array_column($stored, 'Field'));

        return array_combine($names, $names);
    }

    /**
     * Keeps writers away from all tables until the connection is told otherwise, or ends.
     *
     * @param list<string> $tables
     */
    private function lock(array $tables): PDO
    {
        $connection = $this->waiting->connectAs($this->parameters, microtime(true));
        $connection->exec('SET SESSION lock_wait_timeout = '.self::LOCK_SECONDS);
        $names = array_map(fn (string $table): string => Source::identifier($this->database).'.'.Source::identifier($table).' READ', $tables);
        try {
            $connection->exec('LOCK TABLES '.implode(', ', $names));
        } catch (PDOException $e) {
            if (self::LOCK_TIMEOUT !== $e->errorInfo[1]) {
                throw $e;
            }
            throw new Stop("tables of {$this->database} are in use (after ".self::LOCK_SECONDS.' s); there is no snapshot', Stop::IN_VAIN, 'database-in-use');
        }

        return $connection;
    }

    private function drop(string $name): void
    {
        $label = Source::identifier("{$this->database}__{$name}").'.'.self::LABEL;
        // First what makes it one: cut off in between, it is the next run's leavings.
        $this->server->exec("DROP TABLE IF EXISTS {$label}");
        $this->swap->drop("__{$name}");
    }
}
