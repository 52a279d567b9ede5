<?php

declare(strict_types=1);

/**
 * The migrations that this image has, compared with those that Mautic's database has seen.
 *
 * Asked by SQL alone, with the answer that `doctrine:migrations:up-to-date` would give: starting
 * Mautic for that takes a second of a processor and 90 MB of cache.
 */
final class Migrations
{
    private const FOLDER = '/var/www/html/docroot/app/migrations';
    /** Doctrine records classes; Mautic gives them this namespace (app/config/config.php). */
    private const NAMESPACE = 'Mautic\\Migrations\\';

    /** A row in one of these is somebody's work; the installer fills others by itself. */
    private const CONTENT = ['leads', 'companies', 'lead_lists', 'campaigns', 'emails', 'forms', 'pages', 'assets'];

    /** @param string $prefix of the tables' names */
    public function __construct(private readonly PDO $database, private readonly string $prefix)
    {
    }

    /** The version of Mautic's code in this image; null where it does not say. */
    public static function mautic(): ?string
    {
        return json_decode((string) @file_get_contents('/var/www/html/docroot/app/release_metadata.json'), true)['version'] ?? null;
    }

    /** @return list<string> what the database has seen; empty when there is no table for records */
    public function recorded(): array
    {
        return $this->has('migrations')
            ? $this->database->query("SELECT version FROM {$this->quoted('migrations')} ORDER BY version")->fetchAll(PDO::FETCH_COLUMN)
            : [];
    }

    /** @return list<string> what this image has */
    public static function known(): array
    {
        return array_map(
            static fn (string $file): string => self::NAMESPACE.basename($file, '.php'),
            glob(self::FOLDER.'/Version*.php') ?: [],
        );
    }

    /** A migration's name without its namespace. */
    public static function shortName(string $class): string
    {
        return substr((string) strrchr("\\{$class}", '\\'), 1);
    }

    /**
     * The migrations of this image that the database has no record of. Records of migrations that
     * this image does not have are fine: older code may run on a newer schema.
     *
     * @return list<string>|null null when there is no table for records
     */
    public function missing(): ?array
    {
        return $this->has('migrations') ? array_values(array_diff(self::known(), $this->recorded())) : null;
    }

    /** The number of rows of one of Mautic's tables; null when there is no such table. */
    public function rows(string $table): ?int
    {
        return $this->has($table) ? (int) $this->database->query("SELECT COUNT(*) FROM {$this->quoted($table)}")->fetchColumn() : null;
    }

    /** @return array<string, int> rows by table, of those that hold somebody's work */
    public function content(): array
    {
        return array_combine(self::CONTENT, array_map(fn (string $table): int => $this->rows($table) ?? 0, self::CONTENT));
    }

    private function has(string $table): bool
    {
        $exists = $this->database->prepare('SELECT 1 FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = ?');
        $exists->execute([$this->prefix.$table]);

        return false !== $exists->fetchColumn();
    }

    private function quoted(string $table): string
    {
        return '`'.str_replace('`', '``', $this->prefix.$table).'`';
    }
}
