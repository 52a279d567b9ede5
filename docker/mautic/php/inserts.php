<?php

declare(strict_types=1);

require_once '/opt/mautic/source.php';

/** The rows of one table as SQL: INSERT statements of many rows, one in a line. */
final class Inserts
{
    /**
     * For a session that loads: tables come in no order, rows are as the source has them. Unique keys are checked:
     * without that MariaDB sorts all keys of a table in files below its tmpdir, and fails where that is small.
     */
    public const OPENING = "SET NAMES utf8mb4;\nSET SESSION foreign_key_checks = 0, time_zone = '+00:00', sql_mode = 'NO_AUTO_VALUE_ON_ZERO';\n";
    private const STATEMENT_BYTES = 262_144;
    private const ESCAPED = ['\\' => '\\\\', "'" => "\\'", "\n" => '\\n', "\r" => '\\r', "\0" => '\\0', "\x1a" => '\\Z'];

    private readonly string $start;
    private string $statement = '';

    /**
     * @param list<string>                  $columns their names
     * @param list<'number'|'bytes'|'text'> $kinds   of the same columns
     */
    public function __construct(string $table, array $columns, private readonly array $kinds)
    {
        $this->start = 'INSERT INTO '.Source::identifier($table).' ('.implode(', ', array_map(Source::identifier(...), $columns)).') VALUES ';
    }

    /**
     * Adds a row.
     *
     * @param list<string|null> $row
     *
     * @return string statements that are full now, each with its end of line; mostly an empty string
     */
    public function add(array $row): string
    {
        foreach ($row as $i => $value) {
            if (null === $value) {
                $row[$i] = 'NULL';
            } elseif ('text' === $this->kinds[$i]) {
                $row[$i] = "'".strtr($value, self::ESCAPED)."'";
            } elseif ('bytes' === $this->kinds[$i]) {
                $row[$i] = "x'".bin2hex($value)."'";
            }
        }
        $this->statement .= ('' === $this->statement ? $this->start.'(' : ',(').implode(',', $row).')';

        return strlen($this->statement) > self::STATEMENT_BYTES ? $this->rest() : '';
    }

    /** Returns what was not returned yet. */
    public function rest(): string
    {
        $statement = $this->statement;
        $this->statement = '';

        return '' === $statement ? '' : "{$statement};\n";
    }
}
