<?php

declare(strict_types=1);

namespace Standin;

use RuntimeException;

/**
 * The numbered files of app/migrations, each run once. The table `migrations` holds what is done, by
 * the names that Mautic's classes have;
 * `standin_migration_log` gets a row for every run, so that a second run would show.
 */
final class Migrations
{
    private const NAMESPACE = 'Mautic\\Migrations\\';

    public function __construct(private readonly Database $database)
    {
    }

    public function createStorage(): void
    {
        $this->database->run('CREATE TABLE IF NOT EXISTS {migrations} (version VARCHAR(191) PRIMARY KEY, executed_at DATETIME, execution_time INT)');
    }

    /** @return list<string> */
    public function all(): array
    {
        return array_map(static fn (string $file): string => basename($file, '.php'), glob(PROJECT.'/docroot/app/migrations/Version*.php'));
    }

    /** @return list<string> */
    public function pending(): array
    {
        if (!$this->database->has('migrations')) {
            throw new RuntimeException('The metadata storage is not initialized, please run the doctrine:migrations:sync-metadata-storage command.');
        }
        $done = $this->database->run('SELECT version FROM {migrations}')->fetchAll(\PDO::FETCH_COLUMN);

        return array_values(array_filter($this->all(), static fn (string $version): bool => !in_array(self::NAMESPACE.$version, $done, true)));
    }

    /** @return list<string> what is recorded without being there: by newer code */
    public function unavailable(): array
    {
        $done = $this->database->run('SELECT version FROM {migrations}')->fetchAll(\PDO::FETCH_COLUMN);
        $names = array_map(static fn (string $version): string => basename(str_replace('\\', '/', $version)), $done);

        return array_values(array_diff($names, $this->all()));
    }

    /** False when the migration has nothing to do: as in Doctrine there will be no record of it. */
    public function run(string $version): bool
    {
        if ([] === $this->statements($version)) {
            return false;
        }
        $this->createTables($version);
        $this->database->run('CREATE TABLE IF NOT EXISTS {standin_migration_log} (id INT AUTO_INCREMENT PRIMARY KEY, version VARCHAR(191) NOT NULL, ran_at DATETIME NOT NULL)');
        $this->database->run('INSERT INTO {standin_migration_log} (version, ran_at) VALUES (?, UTC_TIMESTAMP())', [$version]);
        $this->add($version);

        return true;
    }

    public function add(string $version): void
    {
        $this->database->run('INSERT INTO {migrations} (version, executed_at, execution_time) VALUES (?, UTC_TIMESTAMP(), 0)', [self::NAMESPACE.$version]);
    }

    /** The statements alone, without a word in any table: what an installation does. */
    public function createTables(string $version): void
    {
        foreach ($this->statements($version) as $statement) {
            $this->database->run($statement);
        }
    }

    /** @return list<string> */
    private function statements(string $version): array
    {
        return require PROJECT."/docroot/app/migrations/{$version}.php";
    }
}
