<?php

declare(strict_types=1);

require_once '/opt/mautic/migrations.php';
require_once '/opt/mautic/swap.php';
require_once '/opt/mautic/table_copy.php';

/**
 * Points in time of a branch's database, each a database of its own beside it, named NAME__0 to NAME__9.
 *
 * What a snapshot is stands in a table of its own, which is made last: without it a snapshot is what a run
 * that was killed has left. While migrations run, the branch's database has a table that names the snapshot
 * from before them: where they have failed half way, it tells. It goes when they have ended, and with all
 * other tables when these are replaced. Whoever calls holds DatabaseLock.
 */
final class Snapshots
{
    private const LABEL = 'mautic_multidev_snapshot';
    private const MARK = 'mautic_multidev_migration';
    private const REPLACED = 'replaced by snapshot ';
    private const DIGITS = 10;
    /** One is left for what is about to be taken. */
    public const MOST = self::DIGITS - 1;
    /** Writers wait while it is taken; and it waits for transactions that have written. */
    private const LOCK_SECONDS = 30;
    private const LOCK_TIMEOUT = 1205;
    /** Whoever changes a table waits for our lock, and the copy for them: one of the two has to give up. */
    private const CHANGED_SECONDS = 5;

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
        $names = array_column($this->all(), 'name');
        $name = self::free($names);
        $started = microtime(true);
        $this->unlabel();
        $tables = TableCopy::tables($this->server, $this->database);
        TableCopy::endOrphans($this->server, $this->parameters);
        $copy = $this->swap->remake("__{$name}");
        try {
            $rows = $this->copyLocked($copy, $tables, $why);
        } catch (Stop|PDOException $e) {
            $this->drop($name);
            throw $e;
        }
        // Only now that there is another.
        $this->prune($names, $most - 1);
        $this->waiting->say(sprintf('snapshot %s: %d rows of %d tables in %.1f s', $name, $rows, count($tables), microtime(true) - $started));

        return $name;
    }

    /**
     * All of them, the oldest first.
     *
     * `mautic` and `release` are those that took it, `migration` is the newest one that its data has
     * seen. `open`: migrations that began after it have not ended; `half`: it is itself from between;
     * `replaced`: it is what a restore has replaced.
     *
     * @return list<array{name: string, taken_at: string, mautic: string, release: string, why: string, tables: int, rows: int, migration: string, open: bool, half: bool, replaced: bool}>
     */
    public function all(): array
    {
        $found = [];
        $open = $this->mark($this->database);
        $databases = $this->server->prepare('SELECT table_schema FROM information_schema.tables WHERE table_name = ? AND table_schema REGEXP ?');
        $databases->execute([self::LABEL, '^'.preg_quote($this->database).'__[0-9]$']);
        foreach ($databases->fetchAll(PDO::FETCH_COLUMN) as $database) {
            $label = $this->server->query('SELECT * FROM '.Source::identifier($database).'.'.self::LABEL)->fetch(PDO::FETCH_ASSOC);
            if (false !== $label) {
                $name = substr($database, -1);
                $found[] = [
                    'name' => $name,
                    'taken_at' => str_replace(' ', 'T', $label['taken_at']).'Z',
                    'mautic' => $label['mautic'],
                    'release' => $label['release_name'] ?? '',
                    'why' => $label['why'],
                    'tables' => (int) $label['table_count'],
                    'rows' => (int) $label['row_count'],
                    'migration' => $this->newest($database),
                    'open' => [$name, $label['taken_at']] === $open,
                    'half' => null !== $this->mark($database),
                    'replaced' => str_starts_with($label['why'], self::REPLACED),
                ];
            }
        }
        usort($found, static fn (array $one, array $other): int => [$one['taken_at'], $one['name']] <=> [$other['taken_at'], $other['name']]);

        return $found;
    }

    /**
     * Puts the tables of a snapshot in the place of the branch's own, in one step; the snapshot stays, and what
     * was there becomes one, which costs nothing. Or the snapshot is used up, which costs nothing either.
     *
     * @param string           $name  which; an empty string is the newest that was taken of a Mautic, so that the same again does the same
     * @param bool             $stays whether the snapshot stays: then it is copied, and otherwise moved
     * @param Replacement|null $with  what changes along with the tables, where they are copied
     *
     * @throws Stop when there is no such snapshot; then nothing has changed
     */
    public function restore(string $name, bool $stays = true, ?Replacement $with = null): void
    {
        $all = $this->all();
        $names = array_column($all, 'name');
        $fits = array_filter($all, static fn (array $each): bool => '' === $name ? !$each['replaced'] && '' !== $each['migration'] : $each['name'] === $name);
        $found = end($fits);
        if (false === $found) {
            throw new Stop([] === $all ? "{$this->database} has no snapshot" : "{$this->database} has no snapshot {$name}, but ".implode(', ', $names), Stop::REFUSED, 'snapshot-missing');
        }
        $name = $found['name'];
        $started = microtime(true);
        $from = "{$this->database}__{$name}";
        $tables = array_values(array_diff(TableCopy::tables($this->server, $from), [self::LABEL]));
        $this->unlabel();
        TableCopy::endOrphans($this->server, $this->parameters);
        $kept = self::free($this->prune(array_values(array_diff($names, [$name])), self::MOST - 2, [$name]));
        try {
            $rows = $stays ? $this->copy($from, $beside = $this->swap->begin(), $tables) : $found['rows'];
            if ($stays) {
                $with?->prepare($beside);
            }
            $there = TableCopy::tables($this->server, $this->database);
            $stays ? $this->swap->finish("__{$kept}", with: $with) : $this->swap->finish("__{$kept}", "__{$name}");
        } catch (Stop|PDOException $e) {
            $this->swap->discard();
            throw $e;
        }
        $this->unlabel();
        if ([] !== $there) {
            $this->label("{$this->database}__{$kept}", self::REPLACED.$name, count($there), $this->rows("{$this->database}__{$kept}", $there));
            $this->waiting->say("what was there is snapshot {$kept} now");
        }
        $this->waiting->say(sprintf('snapshot %s of %s is back: %d rows of %d tables in %.1f s', $name, $found['taken_at'], $rows, count($tables), microtime(true) - $started));
    }

    /** Whether migrations that began after a snapshot have not ended, and that is still there. */
    public function isOpen(): bool
    {
        return in_array(true, array_column($this->all(), 'open'), true);
    }

    /** Notes that migrations begin, and which snapshot is from before them. */
    public function open(string $name): void
    {
        $mark = Source::identifier(self::MARK);
        $label = Source::identifier("{$this->database}__{$name}").'.'.self::LABEL;
        $this->server->exec("DROP TABLE IF EXISTS {$mark}");
        $this->server->exec("CREATE TABLE {$mark} AS SELECT {$this->server->quote($name)} AS snapshot, taken_at FROM {$label}");
    }

    /** Notes that they have ended. */
    public function close(): void
    {
        $this->server->exec('DROP TABLE IF EXISTS '.Source::identifier(self::MARK));
    }

    /** @return array{string, string}|null the snapshot that a database's mark names, and its time */
    private function mark(string $database): ?array
    {
        if (!$this->has($database, self::MARK)) {
            return null;
        }

        return $this->server->query('SELECT snapshot, taken_at FROM '.Source::identifier($database).'.'.self::MARK)->fetch(PDO::FETCH_NUM) ?: null;
    }

    /** By the time in their names: Mautic has a Versionzz20230929183000 that is not the newest. */
    private function newest(string $database): string
    {
        $table = $this->parameters['db_table_prefix'].'migrations';

        return $this->has($database, $table)
            ? Migrations::shortName((string) $this->server->query('SELECT version FROM '.Source::identifier($database).'.'.Source::identifier($table)." ORDER BY REGEXP_REPLACE(version, '[^0-9]', '') DESC LIMIT 1")->fetchColumn())
            : '';
    }

    private function has(string $database, string $table): bool
    {
        $exists = $this->server->prepare('SELECT 1 FROM information_schema.tables WHERE table_schema = ? AND table_name = ?');
        $exists->execute([$database, $table]);

        return false !== $exists->fetchColumn();
    }

    private function label(string $database, string $why, int $tables, int $rows): void
    {
        $label = Source::identifier($database).'.'.self::LABEL;
        $this->server->exec("CREATE TABLE {$label} (taken_at DATETIME NOT NULL, mautic VARCHAR(64) NOT NULL, release_name VARCHAR(255) NOT NULL, why VARCHAR(255) NOT NULL, table_count INT NOT NULL, row_count BIGINT NOT NULL)");
        $this->server->prepare("INSERT INTO {$label} VALUES (UTC_TIMESTAMP(), ?, ?, ?, ?, ?)")->execute([(string) Migrations::mautic(), mb_substr((string) MauticEnvironment::get('MAUTIC_RELEASE'), 0, 255), mb_substr($why, 0, 255), $tables, $rows]);
    }

    /** What a snapshot was comes along with its tables, when these are moved. */
    private function unlabel(): void
    {
        $this->server->exec('DROP TABLE IF EXISTS '.Source::identifier($this->database).'.'.self::LABEL);
    }

    /** @param list<string> $tables */
    private function rows(string $database, array $tables): int
    {
        $counts = array_map(static fn (string $table): string => '(SELECT COUNT(*) FROM '.Source::identifier($database).'.'.Source::identifier($table).')', $tables);

        return [] === $counts ? 0 : (int) $this->server->query('SELECT '.implode(' + ', $counts))->fetchColumn();
    }

    /** @param list<string> $names those that are taken */
    private static function free(array $names): string
    {
        return array_values(array_diff(array_map(strval(...), range(0, self::DIGITS - 1)), $names))[0];
    }

    /**
     * Drops the oldest beyond a number, but never the one from before migrations that have not ended.
     *
     * @param list<string> $names the oldest first
     * @param list<string> $more  others that stay
     *
     * @return list<string> those that are left, the others with them
     */
    private function prune(array $names, int $most, array $more = []): array
    {
        $open = $this->mark($this->database)[0] ?? null;
        foreach (array_slice($names, 0, max(0, count($names) - $most)) as $old) {
            if ($old !== $open) {
                $this->drop($old);
                $this->waiting->say("dropped snapshot {$old}, the oldest");
                $names = array_values(array_diff($names, [$old]));
            }
        }

        return [...$names, ...$more];
    }

    /**
     * Makes a snapshot of all tables at one moment.
     *
     * @param list<string> $tables
     */
    private function copyLocked(string $copy, array $tables, string $why): int
    {
        $lock = $this->lock($tables);
        try {
            $rows = $this->copy($this->database, $copy, $tables);
            $this->label($copy, $why, count($tables), $rows);
        } finally {
            $lock->exec('UNLOCK TABLES');
        }

        return $rows;
    }

    /** @param list<string> $tables */
    private function copy(string $from, string $to, array $tables): int
    {
        $copy = new TableCopy($this->parameters, $this->server, $this->waiting, $from, $to, $tables, self::CHANGED_SECONDS);
        try {
            $copy->define();

            return $copy->fill($this->columns(...));
        } catch (PDOException $e) {
            throw self::LOCK_TIMEOUT === $e->errorInfo[1] ? new Stop('a table is being changed by somebody else', Stop::IN_VAIN, 'database-in-use') : $e;
        } finally {
            $this->server->exec('SET SESSION lock_wait_timeout = DEFAULT');
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
