<?php

declare(strict_types=1);

require_once '/opt/mautic/connections.php';
require_once '/opt/mautic/settled.php';
require_once '/opt/mautic/source.php';

/** Copies the tables of a database into an empty one on the same server, inside it, several at a time. */
final class TableCopy
{
    private const CONNECTIONS = 4;
    /** Rows as they are, whatever order tables come in, and no lock on what is read. */
    private const OPENING = [
        // Unique keys are checked: without that MariaDB sorts all keys of a table in files below its tmpdir, and
        // fails, or ends itself, with a million rows where that is small and in memory.
        "SET SESSION foreign_key_checks = 0, unique_checks = 1, sql_mode = 'NO_AUTO_VALUE_ON_ZERO'",
        'SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED',
    ];

    /** Keys that are made of rows that are there are made in half the time; in a small table that is not worth the statements. */
    private const LARGE_BYTES = 8 << 20;
    /** Such a key is sorted in files below the server's tmpdir, several at a time: so it may not be larger. */
    private const KEY_BYTES = 24 << 20;
    /** What a definition has of these, each in a line. */
    private const LATER = '/\A  (?:KEY|CONSTRAINT `(?:[^`]|``)+` FOREIGN KEY) /';

    /** @var array<string, list<string>> what a table gets when it is filled, as ALTER TABLE has it */
    private array $later = [];

    /**
     * @param array<string, mixed> $parameters Mautic's parameters, as in local.php
     * @param PDO                  $server     a connection of the branch's own user, used by nobody else meanwhile
     * @param list<string>         $tables     begun in this order
     * @param int|null             $patience   seconds to wait for a table that somebody else is changing
     */
    public function __construct(
        #[SensitiveParameter] private readonly array $parameters,
        private readonly PDO $server,
        private readonly Waiting $waiting,
        private readonly string $from,
        private readonly string $to,
        private readonly array $tables,
        private readonly ?int $patience = null,
    ) {
    }

    /** @return list<string> a database's tables, the largest first; none where there is no such database */
    public static function tables(PDO $server, string $database): array
    {
        $found = $server->prepare("SELECT table_name FROM information_schema.tables WHERE table_schema = ? AND table_type = 'BASE TABLE' ORDER BY data_length + index_length DESC, table_name");

        return Settled::read(static function () use ($found, $database): array {
            $found->execute([$database]);

            return $found->fetchAll(PDO::FETCH_COLUMN);
        });
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
        $filling = '/\A(?:INSERT INTO|ALTER TABLE) `'.preg_quote("{$parameters['db_name']}__", '/').'/';
        $orphans = array_filter($mine, static fn (array $each): bool => $each['User'] === $parameters['db_user'] && preg_match($filling, (string) $each['Info']));
        Connections::end($server, array_map('intval', array_column($orphans, 'Id')));
    }

    /** Makes the tables, empty, each by its own definition; the connection uses the new database from then on. */
    public function define(): void
    {
        foreach ($this->opening() as $statement) {
            $this->server->exec($statement);
        }
        $sizes = $this->server->prepare('SELECT table_name, data_length + index_length, index_length FROM information_schema.tables WHERE table_schema = ?');
        $sizes->execute([$this->from]);
        $sizes = $sizes->fetchAll(PDO::FETCH_NUM | PDO::FETCH_UNIQUE);
        foreach ($this->tables as $table) {
            $this->waiting->breakOnSignal();
            $definition = $this->server->query('SHOW CREATE TABLE '.Source::identifier($this->from).'.'.Source::identifier($table))->fetch(PDO::FETCH_NUM)[1];
            [$bytes, $keys] = array_map('intval', $sizes[$table]);
            [$bare, $later] = self::apart($definition);
            $isLater = $bytes > self::LARGE_BYTES && $keys <= self::KEY_BYTES * count($later);
            $this->later[$table] = $isLater ? $later : [];
            $this->server->exec($isLater ? $bare : $definition);
        }
    }

    /** @return list<string> what each connection begins with */
    private function opening(): array
    {
        $patience = null === $this->patience ? [] : ["SET SESSION lock_wait_timeout = {$this->patience}"];

        return ['USE '.Source::identifier($this->to), ...self::OPENING, ...$patience];
    }

    /**
     * Takes the keys out of a table's definition that rows can do without.
     *
     * @return array{string, list<string>} the rest, and what ALTER TABLE adds
     */
    private static function apart(string $definition): array
    {
        $lines = explode("\n", $definition);
        $later = preg_grep(self::LATER, $lines);
        $bare = array_values(array_diff_key($lines, $later));
        $numbered = preg_match('/^  (`(?:[^`]|``)+`) .* AUTO_INCREMENT/m', $definition, $found) ? preg_quote($found[1], '/') : '';
        if ([] === $later || !preg_match("/^  (?:PRIMARY|UNIQUE) KEY .*\({$numbered}/m", implode("\n", $bare))) {
            return [$definition, []];
        }
        $end = array_key_last(preg_grep('/\A\)/', $bare));
        $bare[$end - 1] = rtrim($bare[$end - 1], ',');

        return [implode("\n", $bare), array_map(static fn (string $line): string => 'ADD '.trim($line, ' ,'), array_values($later))];
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
            $name = Source::identifier($table);
            $later = array_map(static fn (string $key): string => "ALTER TABLE {$to}.{$name} {$key}", $this->later[$table]);
            if (null !== $selected = $selections($table)) {
                array_unshift($later, "INSERT INTO {$to}.{$name} (".implode(', ', array_keys($selected)).') SELECT '.implode(', ', $selected)." FROM {$from}.{$name}");
                $counts[] = 'SELECT '.$this->server->quote($table).", (SELECT COUNT(*) FROM {$from}.{$name}), (SELECT COUNT(*) FROM {$to}.{$name})";
            }
            if ([] !== $later) {
                $statements[] = $later;
            }
        }
        (new Connections($this->parameters, $this->opening(), self::CONNECTIONS, $this->waiting))->run($statements, $this->server);
        if ([] === $counts) {
            return 0;
        }
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
