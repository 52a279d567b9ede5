<?php

declare(strict_types=1);

require_once '/opt/mautic/waiting.php';
require_once '/opt/mautic/source.php';
require_once '/opt/mautic/inserts.php';

/**
 * Everything that is in a Mautic's database as SQL, a statement a line: what a dump is made of.
 *
 * In one snapshot, with no lock that anybody waits for. Columns that the server computes are left out, bytes are
 * written as hexadecimal digits.
 */
final class DumpLines
{
    private const REPORT_SECONDS = 15;
    private const TIMES = ['date', 'datetime', 'timestamp', 'time'];

    /** @var array<string, int> how many rows have come, by table */
    public array $rows = [];
    private readonly Source $source;
    private float $reported;

    public function __construct(PDO $database, string $prefix, private readonly Waiting $waiting)
    {
        $this->source = new Source($database, $prefix);
        $this->reported = microtime(true);
    }

    /**
     * Begins the snapshot.
     *
     * @return array<string, list<array<string, string|null>>> for read(): rows of information_schema, by table
     *
     * @throws Stop when there is what a dump cannot hold
     */
    public function begin(): array
    {
        $this->source->begin();
        $schema = $this->source->schema();
        $this->refuseOthers($schema);

        return $schema;
    }

    /**
     * @param array<string, list<array<string, string|null>>> $schema
     *
     * @return Generator<string> each without its end of line
     */
    public function read(array $schema): Generator
    {
        yield from explode("\n", rtrim(Inserts::OPENING));
        foreach ($this->source->definitions(counted: true) as $definition) {
            yield "{$definition};";
        }
        foreach ($schema as $table => $columns) {
            yield from $this->table($table, $columns);
        }
    }

    /** @param array<string, list<array<string, string|null>>> $schema */
    private function refuseOthers(array $schema): void
    {
        $others = $this->source->column('SELECT CONCAT("trigger ", trigger_name) FROM information_schema.triggers WHERE trigger_schema = DATABASE()');
        foreach ($schema as $table => $columns) {
            if ('BASE TABLE' !== $columns[0]['TABLE_TYPE']) {
                $others[] = strtolower((string) $columns[0]['TABLE_TYPE'])." {$table}";
                continue;
            }
            foreach ($columns as $column) {
                $known = self::described($column);
                if (!$known->isNumber() && !$known->isBytes() && !$known->isText() && !in_array($known->type, self::TIMES, true)) {
                    $others[] = "column {$table}.{$known->name} ({$known->type})";
                }
            }
        }
        if ([] !== $others) {
            throw new Stop('a dump cannot hold this, so nothing is read: '.implode(', ', $others), Stop::HAS_CONTENT);
        }
    }

    /**
     * @param list<array<string, string|null>> $described rows of information_schema
     *
     * @return Generator<string>
     */
    private function table(string $table, array $described): Generator
    {
        $columns = array_map(self::described(...), array_values(array_filter(
            $described, static fn (array $column): bool => !Source::isGenerated((string) $column['EXTRA']),
        )));
        $names = array_map(static fn (SourceColumn $column): string => $column->name, $columns);
        $inserts = new Inserts($table, $names, array_map(static fn (SourceColumn $column): string => $column->kind(), $columns));
        $query = 'SELECT '.implode(', ', array_map(Source::identifier(...), $names)).' FROM '.Source::identifier($table);
        $this->rows[$table] = 0;
        foreach ($this->source->rows($query) as $row) {
            ++$this->rows[$table];
            if ('' !== $statement = $inserts->add($row)) {
                yield rtrim($statement, "\n");
                $this->waiting->breakOnSignal();
                $this->report($table);
            }
        }
        if ('' !== $statement = $inserts->rest()) {
            yield rtrim($statement, "\n");
        }
        $this->source->release();
        $this->waiting->breakOnSignal();
    }

    /** @param array<string, string|null> $column a row of information_schema */
    private static function described(array $column): SourceColumn
    {
        return new SourceColumn($column['COLUMN_NAME'], strtolower($column['DATA_TYPE']), 'YES' === $column['IS_NULLABLE'], null, null, '');
    }

    private function report(string $table): void
    {
        if (microtime(true) - $this->reported >= self::REPORT_SECONDS) {
            $this->reported = microtime(true);
            $this->waiting->say(array_sum($this->rows)." rows so far, in {$table}");
        }
    }
}
