<?php

declare(strict_types=1);

/**
 * Tells which tables of a database were made anew meanwhile.
 *
 * A table that is rebuilt gets another id in the server. Who may not see ids (they need the right PROCESS)
 * sees when a table was made, to the second, which on MariaDB any change of its definition renews.
 */
final class TableVersions
{
    public const BY_ID = 'table id';
    public const BY_TIME = 'creation time';

    /** MySQL's, and MariaDB's. */
    private const OF_IDS = ['innodb_tables', 'innodb_sys_tables'];
    private const UNKNOWN_TABLE = 1109;
    /** "Access denied; you need the PROCESS privilege". */
    private const DENIED = 1227;

    public readonly string $by;
    private readonly string $question;

    public function __construct(private readonly PDO $server, private readonly string $database)
    {
        foreach (self::OF_IDS as $view) {
            // A database's name and a slash stand before the table's.
            $question = "SELECT SUBSTRING(name, CHAR_LENGTH(?) + 2), CONCAT(table_id, '/', space) FROM information_schema.{$view} WHERE LEFT(name, CHAR_LENGTH(?) + 1) = CONCAT(?, '/')";
            // MariaDB shows nothing to those that may not see it.
            if ([] !== $this->ask($question)) {
                [$this->by, $this->question] = [self::BY_ID, $question];

                return;
            }
        }
        $this->by = self::BY_TIME;
        $this->question = 'SELECT table_name, create_time FROM information_schema.tables WHERE table_schema IN (?, ?, ?)';
    }

    /** @return array<string, string> by table */
    public function all(): array
    {
        return $this->ask($this->question);
    }

    /**
     * @param array<string, string> $before what all() said before
     *
     * @return list<string> the tables that are there still, but are others now
     */
    public function rebuilt(array $before): array
    {
        $now = $this->all();

        return array_keys(array_filter($before, static fn (string $version, string $table): bool => isset($now[$table]) && $now[$table] !== $version, ARRAY_FILTER_USE_BOTH));
    }

    /** @return array<string, string> nothing where it may not be asked */
    private function ask(string $question): array
    {
        try {
            $asked = $this->server->prepare($question);
            $asked->execute([$this->database, $this->database, $this->database]);

            return $asked->fetchAll(PDO::FETCH_KEY_PAIR);
        } catch (PDOException $e) {
            if (!in_array($e->errorInfo[1], [self::UNKNOWN_TABLE, self::DENIED], true)) {
                throw $e;
            }

            return [];
        }
    }
}
