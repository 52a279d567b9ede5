<?php

declare(strict_types=1);

require_once '/opt/mautic/waiting.php';
require_once '/opt/mautic/pseudonyms.php';
require_once '/opt/mautic/site_address.php';
require_once '/opt/mautic/source.php';

/** Who may log in to a branch that is made from a seed. */
final class Administrator
{
    /** As Mautic's app/config/security.php has it, in 5.1, 5.2 and 7.0. */
    private const COST = 12;
    /** What is longer, Symfony hashes first (NativePasswordHasher). */
    private const BCRYPT_BYTES = 72;

    private function __construct(public readonly string $username, public readonly string $email, #[SensitiveParameter] private readonly string $password)
    {
    }

    /** @throws Stop when one of the settings is missing */
    public static function fromEnvironment(): self
    {
        $given = [];
        foreach (['USERNAME', 'EMAIL', 'PASSWORD'] as $name) {
            $given[] = MauticEnvironment::get("MAUTIC_ADMIN_{$name}")
                ?? throw new Stop("MAUTIC_ADMIN_{$name} (or MAUTIC_ADMIN_{$name}_FILE) is not set", Stop::WRONG_SETTING);
        }

        return new self(...$given);
    }

    public function hash(): string
    {
        $isLong = strlen($this->password) > self::BCRYPT_BYTES;

        return password_hash($isLong ? base64_encode(hash('sha512', $this->password, true)) : $this->password, PASSWORD_BCRYPT, ['cost' => self::COST]);
    }
}

/**
 * Takes out of a copy of a Mautic's database what would reach somebody, whatever it was made from.
 *
 * What sends is unpublished (defuse.json), the masked source's address becomes the branch's own, and of all
 * users one alone has a password. A rule whose table is missing has nothing to do; a column that is missing
 * in a table ends it, for then nobody knows what that table does.
 */
final class Defuse
{
    private const RULES = '/opt/mautic/defuse.json';
    private const TEXT = ['char', 'varchar', 'tinytext', 'text', 'mediumtext', 'longtext', 'json'];

    /** @var array<string, array<string, array<string, string>>> rows of information_schema, by table and column */
    private array $columns = [];

    /**
     * @param PDO    $server the copy is its database
     * @param string $prefix of the tables' names
     */
    public function __construct(private readonly PDO $server, private readonly string $prefix, private readonly Waiting $waiting)
    {
        $found = $this->server->query('SELECT c.table_name, c.column_name, c.data_type, c.extra, c.column_key FROM information_schema.columns c JOIN information_schema.tables t USING (table_schema, table_name) WHERE c.table_schema = DATABASE() AND t.table_type = \'BASE TABLE\' ORDER BY c.ordinal_position');
        foreach ($found->fetchAll(PDO::FETCH_NUM) as [$table, $column, $type, $extra, $key]) {
            $this->columns[$table][$column] = ['type' => strtolower($type), 'extra' => $extra, 'key' => $key];
        }
    }

    /** @param string $siteUrl the branch's own */
    public function run(string $siteUrl, Administrator $administrator): void
    {
        $said = [];
        foreach (json_decode((string) file_get_contents(self::RULES), true, 8, JSON_THROW_ON_ERROR) as $rule) {
            if (0 < $changed = $this->apply($rule)) {
                $said[] = "{$changed} {$rule['table']}";
            }
            $this->waiting->breakOnSignal();
        }
        $this->waiting->say('made harmless: '.implode(', ', $said));
        $this->admit($administrator);
        $this->rewrite(new SiteAddress(Pseudonyms::SITE, rtrim($siteUrl, '/')));
    }

    /**
     * @param array{table: string, is?: array<string, string|int>, not?: array<string, string|int>, set: array<string, string|int|null>} $rule
     *
     * @return int how many rows changed
     */
    private function apply(array $rule): int
    {
        $table = $this->prefix.$rule['table'];
        if (!isset($this->columns[$table])) {
            return 0;
        }
        $given = ['is' => $rule['is'] ?? [], 'not' => $rule['not'] ?? []];
        if ([] !== $missing = array_diff_key($rule['set'] + $given['is'] + $given['not'], $this->columns[$table])) {
            throw new Stop("the seed's {$table} has no column ".implode(', ', array_keys($missing)).': whether it is harmless cannot be told', Stop::FAILED);
        }
        $pairs = fn (array $values, string $operator): array => array_map(
            fn (string $column, string|int|null $value): string => Source::identifier($column).$operator.(null === $value ? 'NULL' : $this->server->quote((string) $value)),
            array_keys($values), $values,
        );
        $where = [...$pairs($given['is'], ' = '), ...$pairs($given['not'], ' <> ')];

        return (int) $this->server->exec('UPDATE '.Source::identifier($table).' SET '.implode(', ', $pairs($rule['set'], ' = ')).([] === $where ? '' : ' WHERE '.implode(' AND ', $where)));
    }

    /** Gives the environment's administrator the place of one of the seed's. */
    private function admit(Administrator $administrator): void
    {
        [$users, $roles] = [Source::identifier("{$this->prefix}users"), Source::identifier("{$this->prefix}roles")];
        $id = $this->server->query("SELECT u.id FROM {$users} u JOIN {$roles} r ON r.id = u.role_id WHERE r.is_admin = 1 ORDER BY u.is_published DESC, u.id LIMIT 1")->fetchColumn();
        if (false === $id) {
            throw new Stop('the seed has no user who is an administrator', Stop::FAILED);
        }
        // Both names are unique.
        foreach (['username' => $administrator->username, 'email' => $administrator->email] as $column => $value) {
            $this->server->prepare("UPDATE {$users} SET {$column} = CONCAT(id, '.', {$column}) WHERE {$column} = ? AND id <> ?")->execute([$value, $id]);
        }
        $this->server->prepare("UPDATE {$users} SET username = ?, email = ?, password = ?, is_published = 1 WHERE id = ?")
            ->execute([$administrator->username, $administrator->email, $administrator->hash(), $id]);
    }

    private function rewrite(SiteAddress $address): void
    {
        foreach ($this->columns as $table => $columns) {
            $texts = array_filter($columns, static fn (array $column): bool => in_array($column['type'], self::TEXT, true) && !Source::isGenerated($column['extra']));
            $has = $this->having(array_keys($texts), $address);
            if ([] === $texts || false === $this->server->query('SELECT 1 FROM '.Source::identifier($table).' WHERE '.implode(' OR ', $has).' LIMIT 1')->fetchColumn()) {
                continue;
            }
            foreach ($has as $column => $condition) {
                $this->rewriteColumn($table, $column, $condition, $address);
            }
            $this->waiting->breakOnSignal();
        }
    }

    /**
     * @param list<string> $columns
     *
     * @return array<string, string> by column, the condition that the address may be in it
     */
    private function having(array $columns, SiteAddress $address): array
    {
        $host = $this->server->quote('%'.basename((string) array_key_first($address->forms)).'%');

        return array_combine($columns, array_map(static fn (string $column): string => Source::identifier($column)." LIKE {$host}", $columns));
    }

    private function rewriteColumn(string $table, string $column, string $condition, SiteAddress $address): void
    {
        [$name, $value] = [Source::identifier($table), Source::identifier($column)];
        // Serialised values have lengths in them, so each is read and written anew; all others are changed where they are.
        $isSerialised = "LEFT({$value}, 2) IN ('a:', 'O:', 's:')";
        $replaced = $value;
        foreach ($address->forms as $old => $new) {
            $replaced = "REPLACE({$replaced}, {$this->server->quote($old)}, {$this->server->quote($new)})";
        }
        $this->server->exec("UPDATE {$name} SET {$value} = {$replaced} WHERE {$condition} AND NOT {$isSerialised}");
        $keys = array_keys(array_filter($this->columns[$table], static fn (array $each): bool => 'PRI' === $each['key'])) ?: [$column];
        $selected = implode(', ', array_map(Source::identifier(...), $keys));
        $same = implode(' AND ', array_map(static fn (string $key): string => Source::identifier($key).' = ?', $keys));
        $select = $this->server->prepare("SELECT {$value} FROM {$name} WHERE {$same}");
        $update = $this->server->prepare("UPDATE {$name} SET {$value} = ? WHERE {$same}");
        // One at a time: designed content may be large.
        foreach ($this->server->query("SELECT {$selected} FROM {$name} WHERE {$condition} AND {$isSerialised}")->fetchAll(PDO::FETCH_NUM) as $row) {
            $select->execute($row);
            $update->execute([$address->replace((string) $select->fetchColumn()), ...$row]);
        }
    }
}
