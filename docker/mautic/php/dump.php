<?php

declare(strict_types=1);

/**
 * Writes everything that is in Mautic's database to stdout: SQL, compressed (gzip).
 *
 * A statement a line, in one snapshot, with no lock that anybody waits for. Columns that the server
 * computes are left out, bytes are written as hexadecimal digits. It can be loaded into MySQL 8.4 and
 * MariaDB 11.8, whichever it was made on. Its last line says that it is whole (Ending). Then stderr has
 * one line more, "dump: whole " and JSON: bytes and sha256 of what was written, Mautic's version, its
 * migrations, rows by table.
 *
 * Environment: MAUTIC_DB_*; MAUTIC_DB_WAIT in seconds.
 *
 * Exit status: 0 done, 1 a statement failed or nobody reads, 65 there is what a dump cannot hold, 75 no
 * database in time, 77 the database refuses us or its host is unknown, 78 a setting is missing or wrong,
 * 143 stopped by a signal.
 */
require_once '/opt/mautic/waiting.php';
require_once '/opt/mautic/source.php';
require_once '/opt/mautic/inserts.php';
require_once '/opt/mautic/ending.php';
require_once '/opt/mautic/migrations.php';

final class Dump
{
    private const REPORT_SECONDS = 15;
    /** Higher levels make little less, at thrice the time. */
    private const LEVEL = 1;
    private const TIMES = ['date', 'datetime', 'timestamp', 'time'];

    private readonly Waiting $waiting;
    private readonly DeflateContext $deflate;
    private readonly HashContext $bytes;
    private readonly Ending $ending;
    private int $size = 0;
    private float $reported;

    public function __construct()
    {
        $this->waiting = new Waiting('dump');
        $this->waiting->heed();
        $this->deflate = deflate_init(ZLIB_ENCODING_GZIP, ['level' => self::LEVEL]);
        $this->bytes = hash_init('sha256');
        $this->ending = new Ending();
        $this->reported = microtime(true);
    }

    /** @param array<string, mixed> $parameters Mautic's parameters, as in local.php */
    public function run(array $parameters): void
    {
        $database = $this->waiting->connectAs($parameters, microtime(true) + (int) MauticEnvironment::get('MAUTIC_DB_WAIT', '60'));
        $source = new Source($database, (string) $parameters['db_table_prefix']);
        $source->begin();
        $schema = $source->schema();
        $this->refuseOthers($source, $schema);
        $migrations = (new Migrations($database, (string) $parameters['db_table_prefix']))->recorded();
        $this->write(Inserts::OPENING);
        foreach ($source->definitions(counted: true) as $definition) {
            $this->write("{$definition};\n");
        }
        $rows = [];
        foreach ($schema as $table => $columns) {
            $rows[$table] = $this->table($source, $table, $columns, array_sum($rows));
        }
        $this->put(deflate_add($this->deflate, $this->ending->line(), ZLIB_FINISH));
        if (!fflush(STDOUT)) {
            throw new Stop('nobody reads any more', Stop::FAILED);
        }
        $this->waiting->say('whole '.json_encode([
            'bytes' => $this->size,
            'sha256' => hash_final($this->bytes),
            'mautic' => Migrations::mautic(),
            'migrations' => $migrations,
            'rows' => $rows,
        ], JSON_THROW_ON_ERROR | JSON_UNESCAPED_SLASHES));
    }

    /** @param array<string, list<array<string, string|null>>> $schema rows of information_schema, by table */
    private function refuseOthers(Source $source, array $schema): void
    {
        $others = $source->column('SELECT CONCAT("trigger ", trigger_name) FROM information_schema.triggers WHERE trigger_schema = DATABASE()');
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
     * @return int how many rows there are
     */
    private function table(Source $source, string $table, array $described, int $before): int
    {
        $columns = array_map(self::described(...), array_values(array_filter(
            $described, static fn (array $column): bool => !Source::isGenerated((string) $column['EXTRA']),
        )));
        $names = array_map(static fn (SourceColumn $column): string => $column->name, $columns);
        $inserts = new Inserts($table, $names, array_map(static fn (SourceColumn $column): string => $column->kind(), $columns));
        $query = 'SELECT '.implode(', ', array_map(Source::identifier(...), $names)).' FROM '.Source::identifier($table);
        $count = 0;
        foreach ($source->rows($query) as $row) {
            ++$count;
            if ('' !== $statement = $inserts->add($row)) {
                $this->write($statement);
                $this->waiting->breakOnSignal();
                $this->report($before + $count, $table);
            }
        }
        $this->write($inserts->rest());
        $source->release();
        $this->waiting->breakOnSignal();

        return $count;
    }

    /** @param array<string, string|null> $column a row of information_schema */
    private static function described(array $column): SourceColumn
    {
        return new SourceColumn($column['COLUMN_NAME'], strtolower($column['DATA_TYPE']), 'YES' === $column['IS_NULLABLE'], null, null, '');
    }

    private function report(int $rows, string $table): void
    {
        if (microtime(true) - $this->reported >= self::REPORT_SECONDS) {
            $this->reported = microtime(true);
            $this->waiting->say("{$rows} rows so far, in {$table}");
        }
    }

    private function write(string $text): void
    {
        $this->ending->add($text);
        $this->put(deflate_add($this->deflate, $text, ZLIB_NO_FLUSH));
    }

    private function put(string $bytes): void
    {
        hash_update($this->bytes, $bytes);
        $this->size += strlen($bytes);
        if (strlen($bytes) !== @fwrite(STDOUT, $bytes)) {
            throw new Stop('nobody reads any more', Stop::FAILED);
        }
    }
}

runOrExit('dump', static function (): void {
    (new Dump())->run(mauticParameters());
});
