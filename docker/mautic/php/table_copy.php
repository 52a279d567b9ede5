<?php

declare(strict_types=1);

require_once '/opt/mautic/connections.php';
require_once '/opt/mautic/source.php';

/** Copies the tables of a database into an empty one on the same server, inside it, several at a time. */
final class TableCopy
{
    private const CONNECTIONS = 4;
    /** Rows as they are, whatever order tables come in, and no lock on what is read. */
    private const OPENING = [
        // Unique keys are checked: without that MariaDB would sort all indexes in files below /tmp, and fail
        // with a million rows where that is small and in memory.
        "SET SESSION foreign_key_checks = 0, unique_checks = 1, sql_mode = 'NO_AUTO_VALUE_ON_ZERO'",
        'SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED',
    ];

    /**
     * @param array<string, mixed> $parameters Mautic's parameters, as in local.php
     * @param PDO                  $server     a connection of the branch's own user, used by nobody else meanwhile
     * @param list<string>         $tables     begun in this order
     */
    public function __construct(
        #[SensitiveParameter] private readonly array $parameters,
        private readonly PDO $server,
        private readonly Waiting $waiting,
        private readonly string $from,
        private readonly string $to,
        private readonly array $tables,
    ) {
    }

    /** @return list<string> a database's tables, the largest first; none where there is no such database */
    public static function tables(PDO $server, string $database): array
    {
        $found = $server->prepare("SELECT table_name FROM information_schema.tables WHERE table_schema = ? AND table_type = 'BASE TABLE' ORDER BY data_length + index_length DESC, table_name");
        $found->execute([$database]);

        return $found->fetchAll(PDO::FETCH_COLUMN);
    }

    /**
     * Ends what a run that was killed has left: statements that still fill its tables. To be called before
     * these are dropped, which would wait for them.
     *
     * @param array<string, mixed> $parameters
     */
    public static function endOrphans(PDO $server, #[SensitiveParameter] array $parameters): void
    {
        // Without a right to see others', a user sees its own connections.
        $mine = $server->query('SHOW FULL PROCESSLIST')->fetchAll(PDO::FETCH_ASSOC);
        $start = "INSERT INTO `{$parameters['db_name']}__";
        $orphans = array_filter($mine, static fn (array $each): bool => $each['User'] === $parameters['db_user'] && str_starts_with((string) $each['Info'], $start));
        Connections::end($server, array_map('intval', array_column($orphans, 'Id')));
    }

    /** Makes the tables, empty, each by its own definition; the connection uses the new database from then on. */
    public function define(): void
    {
        $this->server->exec('USE '.Source::identifier($this->to));
        foreach (self::OPENING as $statement) {
            $this->server->exec($statement);
        }
        foreach ($this->tables as $table) {
            $this->waiting->breakOnSignal();
            $this->server->exec($this->server->query('SHOW CREATE TABLE '.Source::identifier($this->from).'.'.Source::identifier($table))->fetch(PDO::FETCH_NUM)[1]);
        }
    }

    /**
     * Fills the tables, and counts.
     *
     * @param Closure(string): (array<string, string>|null) $selections what is selected of a table, by quoted column; null leaves it empty
     *
     * @return int how many rows there are now
     *
     * @throws Stop when a table has not as many rows as the one it was filled from
     */
    public function fill(Closure $selections): int
    {
        [$from, $to] = [Source::identifier($this->from), Source::identifier($this->to)];
        $statements = $counts = [];
        foreach ($this->tables as $table) {
            if (null === $selected = $selections($table)) {
                continue;
            }
            $name = Source::identifier($table);
            $statements[] = "INSERT INTO {$to}.{$name} (".implode(', ', array_keys($selected)).') SELECT '.implode(', ', $selected)." FROM {$from}.{$name}";
            $counts[] = 'SELECT '.$this->server->quote($table).", (SELECT COUNT(*) FROM {$from}.{$name}), (SELECT COUNT(*) FROM {$to}.{$name})";
        }
        if ([] === $statements) {
            return 0;
        }
        (new Connections($this->parameters, self::OPENING, self::CONNECTIONS, $this->waiting))->run($statements, $this->server);
        $rows = 0;
        foreach ($this->server->query(implode(' UNION ALL ', $counts))->fetchAll(PDO::FETCH_NUM) as [$table, $before, $after]) {
            if ((int) $before !== (int) $after) {
                throw new Stop("{$table} has {$after} rows, in {$this->from} {$before}: it has changed on the way", Stop::FAILED);
            }
            $rows += (int) $after;
        }

        return $rows;
    }
}
