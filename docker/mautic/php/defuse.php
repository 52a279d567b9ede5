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
 * Takes out of a copy of a Mautic's database what would reach somebody, whatever it is made from.
 *
 * While rows are copied, what sends is unpublished (defuse.json), and the masked source's address becomes
 * the branch's own: selections(). Afterwards the same happens inside serialised values, and one of all
 * users gets a password: finish(). A rule whose table is missing has nothing to do; a column that is
 * missing in a table ends it, for then nobody knows what that table does.
 */
final class Defuse
{
    private const RULES = '/opt/mautic/defuse.json';
    private const TEXT = ['char', 'varchar', 'tinytext', 'text', 'mediumtext', 'longtext', 'json'];

    /** @var array<string, array<string, array{isText: bool, isJson: bool, isKey: bool, length: int}>> stored columns, by table and name */
    private array $columns = [];
    /** @var array<string, array<string, string>> expressions of defuse.json, by table and column */
    private array $rules = [];
    private readonly SiteAddress $address;
    /** The masked source's host. */
    private readonly string $host;

    /**
     * @param PDO    $server  the copy is its database, and has its tables
     * @param string $prefix  of the tables' names
     * @param string $siteUrl the branch's own
     *
     * @throws Stop when a rule does not fit the tables
     */
    public function __construct(private readonly PDO $server, private readonly string $prefix, string $siteUrl)
    {
        $this->address = new SiteAddress(Pseudonyms::SITE, rtrim($siteUrl, '/'));
        $host = basename(Pseudonyms::SITE);
        $this->host = $server->quote($host);
        $found = $server->query('SELECT table_name, column_name, data_type, extra, column_key, character_maximum_length FROM information_schema.columns WHERE table_schema = DATABASE() ORDER BY table_name, ordinal_position');
        foreach ($found->fetchAll(PDO::FETCH_NUM) as [$table, $column, $type, $extra, $key, $length]) {
            if (!Source::isGenerated($extra)) {
                $isText = in_array(strtolower($type), self::TEXT, true) && (null === $length || $length >= strlen($host));
                $this->columns[$table][$column] = ['isText' => $isText, 'isJson' => 'json' === strtolower($type), 'isKey' => 'PRI' === $key, 'length' => (int) $length];
            }
        }
        foreach (json_decode((string) file_get_contents(self::RULES), true, 8, JSON_THROW_ON_ERROR) as $rule) {
            $this->learn($rule);
        }
    }

    /**
     * Says what each stored column of a table is filled with.
     *
     * @return array<string, string> expressions by the columns' names, both as they stand in a statement
     */
    public function selections(string $table): array
    {
        $selections = [];
        foreach ($this->columns[$table] as $name => $column) {
            $value = Source::identifier($name);
            $selections[$value] = $this->rules[$table][$name] ?? ($column['isText'] ? $this->rewritten($value, $column['isJson']) : $value);
        }

        return $selections;
    }

    /** Leads assets to the files of the seed that branches share, below a folder of their own. */
    public function share(string $folder): void
    {
        $path = $this->columns["{$this->prefix}assets"]['path'] ?? null;
        if ($path) {
            // What would not fit is no file of Mautic's: it gives them names of half that length.
            $fits = "path <> '' AND CHAR_LENGTH(path) <= ".($path['length'] - strlen("{$folder}/"));
            $this->rules["{$this->prefix}assets"]['path'] = "IF({$fits}, CONCAT({$this->server->quote("{$folder}/")}, path), path)";
        }
    }

    public function finish(Administrator $administrator): void
    {
        $this->admit($administrator);
        foreach ($this->columns as $table => $columns) {
            $found = array_filter($columns, static fn (array $column): bool => $column['isText']);
            $texts = array_map(Source::identifier(...), array_keys($found));
            $conditions = array_map(fn (string $value, array $column): string => self::isSerialised($value)." AND {$this->hasAddress($value, $column['isJson'])}", $texts, $found);
            $name = Source::identifier($table);
            // Most tables have none: they are looked through once.
            if ([] === $texts || false === $this->server->query("SELECT 1 FROM {$name} WHERE ".implode(' OR ', $conditions).' LIMIT 1')->fetchColumn()) {
                continue;
            }
            array_map(fn (string $value, string $condition) => $this->rewriteSerialised($table, $value, $condition), $texts, $conditions);
        }
    }

    /** @param array{table: string, is?: array<string, string|int>, not?: array<string, string|int>, set: array<string, string|int|null>} $rule */
    private function learn(array $rule): void
    {
        $table = $this->prefix.$rule['table'];
        if (!isset($this->columns[$table])) {
            return;
        }
        $named = $rule['set'] + ($rule['is'] ?? []) + ($rule['not'] ?? []);
        if ([] !== $missing = array_diff_key($named, $this->columns[$table])) {
            throw new Stop("the seed's {$table} has no column ".implode(', ', array_keys($missing)).': whether it is harmless cannot be told', Stop::FAILED);
        }
        $literal = fn (string|int|null $value): string => null === $value ? 'NULL' : $this->server->quote((string) $value);
        $when = ['TRUE'];
        foreach ($rule['is'] ?? [] as $column => $value) {
            $when[] = Source::identifier($column)." <=> {$literal($value)}";
        }
        foreach ($rule['not'] ?? [] as $column => $value) {
            $when[] = 'NOT '.Source::identifier($column)." <=> {$literal($value)}";
        }
        foreach ($rule['set'] as $column => $value) {
            $this->rules[$table][$column] = 'IF('.implode(' AND ', $when).", {$literal($value)}, ".Source::identifier($column).')';
        }
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

    private function rewritten(string $value, bool $isJson): string
    {
        $replaced = $value;
        foreach ($this->address->forms as $old => $new) {
            $replaced = "REPLACE({$replaced}, {$this->server->quote($old)}, {$this->server->quote($new)})";
        }

        return "IF({$this->hasAddress($value, $isJson)} AND NOT ".self::isSerialised($value).", {$replaced}, {$value})";
    }

    /** Looks at bytes, for to compare letters of Unicode takes three times as long; at those of MySQL's JSON as its text. */
    private function hasAddress(string $value, bool $isJson): string
    {
        return $isJson ? "INSTR({$value}, {$this->host})" : "INSTR(CAST({$value} AS BINARY), {$this->host})";
    }

    /** Values with lengths in them are read and written anew. */
    private static function isSerialised(string $value): string
    {
        return "LEFT({$value}, 2) IN ('a:', 'O:', 's:')";
    }

    private function rewriteSerialised(string $table, string $value, string $condition): void
    {
        $name = Source::identifier($table);
        $keys = array_map(Source::identifier(...), array_keys(array_filter($this->columns[$table], static fn (array $column): bool => $column['isKey']))) ?: [$value];
        $same = implode(' AND ', array_map(static fn (string $key): string => "{$key} = ?", $keys));
        $select = $this->server->prepare("SELECT {$value} FROM {$name} WHERE {$same}");
        $update = $this->server->prepare("UPDATE {$name} SET {$value} = ? WHERE {$same}");
        // One at a time: designed content may be large.
        foreach ($this->server->query('SELECT '.implode(', ', $keys)." FROM {$name} WHERE {$condition}")->fetchAll(PDO::FETCH_NUM) as $row) {
            $select->execute($row);
            $update->execute([$this->address->replace((string) $select->fetchColumn()), ...$row]);
        }
    }
}
