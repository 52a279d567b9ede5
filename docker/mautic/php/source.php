<?php

declare(strict_types=1);

require_once '/opt/mautic/column_masks.php';
require_once '/opt/mautic/settled.php';

/** A table of the source whose rows go along. */
final class SourceTable
{
    /**
     * @param string             $name    with the installation's prefix
     * @param string             $plain   without it, as rules have it
     * @param list<SourceColumn> $columns without those that the server computes
     * @param list<string>       $key     the columns of the primary key
     */
    public function __construct(
        public readonly string $name,
        public readonly string $plain,
        public readonly array $columns,
        public readonly array $key,
    ) {
    }

    /** @return array<string, int> */
    public function positions(): array
    {
        return array_flip(array_map(static fn (SourceColumn $column): string => $column->name, $this->columns));
    }
}

/**
 * The database that is read: in one snapshot, without a lock that somebody waits for, by SELECT alone.
 */
final class Source
{
    /** A statement that changes a table's definition comes first; this one rather fails than queue up behind it. */
    private const LOCK_SECONDS = 10;
    private const CHANGED = 1412;
    /** What is read to know the rules; every Mautic has them. */
    private const MAUTICS = ['lead_fields', 'form_fields', 'plugins'];

    /** @var array<string, list<array<string, string|null>>>|null */
    private ?array $schema = null;

    public function __construct(private readonly PDO $database, private readonly string $prefix)
    {
    }

    /** Begins the snapshot that everything is read in. */
    public function begin(): void
    {
        $this->database->setAttribute(PDO::ATTR_STRINGIFY_FETCHES, true);
        $this->database->exec("SET SESSION time_zone = '+00:00', lock_wait_timeout = ".self::LOCK_SECONDS);
        // A client that masks reads slowly.
        $this->database->exec('SET SESSION net_write_timeout = 600');
        $this->database->exec('SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ');
        $this->database->exec('START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY');
        $this->database->exec('SAVEPOINT masking');
    }

    /**
     * Lets go of the definitions of the tables that were read: ALTER TABLE would wait for the end of the
     * transaction otherwise, and everybody else for it.
     */
    public function release(): void
    {
        $this->database->exec('ROLLBACK TO SAVEPOINT masking');
    }

    /** Ends the snapshot: what is changed meanwhile is kept by the server for as long. */
    public function end(): void
    {
        $this->database->exec('COMMIT');
    }

    /**
     * Reads which tables there are, each column with its rule.
     *
     * @return array<string, SourceTable> those of which rows go along, by their plain names
     *
     * @throws Stop naming every table, column and plugin without a rule; or when there is no Mautic
     */
    public function tables(MaskingRules $rules): array
    {
        $schema = $this->schema();
        $missing = array_filter(self::MAUTICS, fn (string $table): bool => !isset($schema[$this->prefix.$table]));
        if ([] !== $missing) {
            throw new Stop("there is no Mautic in the database {$this->column('SELECT DATABASE()')[0]}: it has no table ".implode(', ', $missing), Stop::FAILED);
        }
        $rules->learn(
            $this->all("SELECT object, alias, type, is_unique_identifer FROM {$this->quoted('lead_fields')} ORDER BY id"),
            $this->all("SELECT form_id, alias, type, mapped_object, COALESCE(NULLIF(mapped_field, ''), NULLIF(lead_field, '')) AS mapped FROM {$this->quoted('form_fields')} ORDER BY id"),
        );
        $unknown = array_map(
            static fn (string $bundle): string => "plugin {$bundle}",
            $rules->unknownPlugins($this->column("SELECT DISTINCT bundle FROM {$this->quoted('plugins')} ORDER BY bundle")),
        );
        $found = [];
        foreach ($schema as $name => $columns) {
            $plain = str_starts_with($name, $this->prefix) ? substr($name, strlen($this->prefix)) : null;
            if (null === $plain || !$rules->hasTable($plain) || 'BASE TABLE' !== $columns[0]['TABLE_TYPE']) {
                $unknown[] = "table {$name}";
            } elseif (!$rules->isEmpty($plain)) {
                [$table, $wrong] = self::table($name, $plain, $columns, $rules);
                $found[$plain] = $table;
                $unknown = [...$unknown, ...$wrong];
            }
        }
        if ([] !== $unknown) {
            throw new Stop('without a rule, so nothing is read: '.implode(', ', $unknown).". Give them one in {$rules->where}", Stop::FAILED);
        }
        uksort($found, static fn (string $a, string $b): int => [$rules->turn($a), $a] <=> [$rules->turn($b), $b]);

        return $found;
    }

    /**
     * The tables' definitions, also of those of which no row goes along.
     *
     * @param bool $counted whether they say what the next id will be, which tells how many rows there were
     *
     * @return Generator<string, string> a statement in one line, by the table's name
     */
    public function definitions(bool $counted = false): Generator
    {
        $tables = array_filter($this->schema(), static fn (array $columns): bool => 'BASE TABLE' === $columns[0]['TABLE_TYPE']);
        foreach (array_keys($tables) as $name) {
            $statement = $this->database->query('SHOW CREATE TABLE '.self::identifier($name))->fetch(PDO::FETCH_NUM)[1];
            yield $name => preg_replace($counted ? '/\R\s*/' : ['/ AUTO_INCREMENT=\d+/', '/\R\s*/'], $counted ? ' ' : ['', ' '], $statement);
            $this->release();
        }
    }

    /**
     * Reads rows one by one.
     *
     * @return Generator<list<string|null>>
     *
     * @throws Stop when somebody has changed the table's definition since the snapshot began
     */
    public function rows(string $query): Generator
    {
        $this->database->setAttribute(PDO::MYSQL_ATTR_USE_BUFFERED_QUERY, false);
        try {
            $statement = $this->database->query($query);
            while (false !== $row = $statement->fetch(PDO::FETCH_NUM)) {
                yield $row;
            }
        } catch (PDOException $e) {
            throw self::CHANGED === $e->errorInfo[1] ? new Stop('a table was changed by somebody else while it was read; run it again', Stop::IN_VAIN, 'database-in-use') : $e;
        } finally {
            ($statement ?? null)?->closeCursor();
            $this->database->setAttribute(PDO::MYSQL_ATTR_USE_BUFFERED_QUERY, true);
        }
    }

    /** Says whether the server computes a column, from what information_schema has as EXTRA, and SHOW COLUMNS as Extra. */
    public static function isGenerated(string $extra): bool
    {
        // MySQL marks a default that is an expression much alike.
        return (bool) preg_match('/(?<!DEFAULT_)GENERATED/i', $extra);
    }

    /** @return list<string> */
    public function column(string $query): array
    {
        return $this->database->query($query)->fetchAll(PDO::FETCH_COLUMN);
    }

    /** The name of one of Mautic's tables, for a statement. */
    public function quoted(string $plain): string
    {
        return self::identifier($this->prefix.$plain);
    }

    public static function identifier(string $name): string
    {
        return '`'.str_replace('`', '``', $name).'`';
    }

    /**
     * @param list<array<string, string|null>> $columns
     *
     * @return array{SourceTable, list<string>} the table, and what has no rule
     */
    private static function table(string $name, string $plain, array $columns, MaskingRules $rules): array
    {
        $made = $unknown = $key = [];
        foreach ($columns as $column) {
            $isGenerated = self::isGenerated((string) $column['EXTRA']);
            $rule = $rules->rule($plain, $column['COLUMN_NAME']);
            $length = $column['CHARACTER_MAXIMUM_LENGTH'];
            $octets = $column['CHARACTER_OCTET_LENGTH'];
            $each = new SourceColumn(
                $column['COLUMN_NAME'], strtolower($column['DATA_TYPE']), 'YES' === $column['IS_NULLABLE'],
                null === $length ? null : (int) $length, null === $octets ? null : (int) $octets, $rule ?? '',
            );
            $why = match (true) {
                null === $rule => '',
                $isGenerated => null,
                'generated' === $rule => ' (is not generated)',
                'hash' === $rule && !$each->isNumber() && !$each->isText() => ' (cannot be hashed)',
                $each->isBytes() && 'null' !== $rule && !str_starts_with($rule, 'const:') => ' (bytes can only be null or const)',
                'null' === $rule && !$each->isNullable && !$each->isText() => ' (cannot be null)',
                default => null,
            };
            if (null !== $why) {
                $unknown[] = "column {$name}.{$column['COLUMN_NAME']}{$why}";
            } elseif (!$isGenerated) {
                $made[] = $each;
            }
            if ('PRI' === $column['COLUMN_KEY']) {
                $key[] = $column['COLUMN_NAME'];
            }
        }

        return [new SourceTable($name, $plain, $made, $key), $unknown];
    }

    /** @return array<string, list<array<string, string|null>>> rows of information_schema, by table, as they were at first */
    public function schema(): array
    {
        return $this->schema ??= Settled::read($this->described(...));
    }

    /** @return array<string, list<array<string, string|null>>> */
    private function described(): array
    {
        $tables = [];
        foreach ($this->all('SELECT t.table_name AS TABLE_NAME, t.table_type AS TABLE_TYPE, c.column_name AS COLUMN_NAME, c.data_type AS DATA_TYPE, c.is_nullable AS IS_NULLABLE, c.character_maximum_length AS CHARACTER_MAXIMUM_LENGTH, c.character_octet_length AS CHARACTER_OCTET_LENGTH, c.extra AS EXTRA, c.column_key AS COLUMN_KEY FROM information_schema.tables t JOIN information_schema.columns c USING (table_schema, table_name) WHERE t.table_schema = DATABASE() ORDER BY t.table_name, c.ordinal_position') as $row) {
            $tables[$row['TABLE_NAME']][] = $row;
        }

        return $tables;
    }

    /** @return list<array<string, string|null>> */
    private function all(string $query): array
    {
        return $this->database->query($query)->fetchAll(PDO::FETCH_ASSOC);
    }
}
