<?php

declare(strict_types=1);

namespace Standin;

use PDO;
use PDOStatement;

/** The database of one installation. In SQL, {name} stands for a table's name with its prefix. */
final class Database
{
    private readonly PDO $pdo;
    private readonly string $prefix;

    public function __construct(Parameters $parameters)
    {
        $this->prefix = $parameters->get('db_table_prefix');
        $authorities = (string) getenv('MAUTIC_DB_TLS_CA_FILE');
        $this->pdo = new PDO(
            sprintf(
                'mysql:host=%s;port=%d;dbname=%s;charset=utf8mb4',
                $parameters->get('db_host'),
                (int) $parameters->get('db_port'),
                $parameters->get('db_name'),
            ),
            $parameters->get('db_user'),
            $parameters->get('db_password'),
            [PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION, PDO::ATTR_EMULATE_PREPARES => false, PDO::ATTR_TIMEOUT => 5]
                + ('' === $authorities ? [] : [PDO::MYSQL_ATTR_SSL_CA => $authorities]),
        );
    }

    /** @param list<string|int|null> $values */
    public function run(string $sql, array $values = []): PDOStatement
    {
        $statement = $this->pdo->prepare(preg_replace('/\{(\w+)\}/', "`{$this->prefix}\$1`", $sql));
        $statement->execute($values);

        return $statement;
    }

    /** @param list<string|int|null> $values */
    public function value(string $sql, array $values = []): mixed
    {
        return $this->run($sql, $values)->fetchColumn();
    }

    /** @param callable(): mixed $work */
    public function transaction(callable $work): mixed
    {
        $this->pdo->beginTransaction();
        try {
            $result = $work();
            $this->pdo->commit();

            return $result;
        } finally {
            if ($this->pdo->inTransaction()) {
                $this->pdo->rollBack();
            }
        }
    }

    public function has(string $table): bool
    {
        return (bool) $this->value(
            'SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = ?',
            [$this->prefix.$table],
        );
    }

    public function count(string $name): void
    {
        $this->run('INSERT INTO {standin_counters} (name, value) VALUES (?, 1) ON DUPLICATE KEY UPDATE value = value + 1', [$name]);
    }

    /** @return array<string, int> every counter by its name */
    public function counters(): array
    {
        return array_map('intval', $this->run('SELECT name, value FROM {standin_counters} ORDER BY name')->fetchAll(PDO::FETCH_KEY_PAIR));
    }
}
