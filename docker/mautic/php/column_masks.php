<?php

declare(strict_types=1);

require_once '/opt/mautic/cleaner.php';
require_once '/opt/mautic/masking_rules.php';

/** A column of the source, as its server describes it. */
final class SourceColumn
{
    private const NUMBERS = ['tinyint', 'smallint', 'mediumint', 'int', 'bigint', 'decimal', 'float', 'double', 'year', 'bit'];
    private const BYTES = ['tinyblob', 'blob', 'mediumblob', 'longblob', 'binary', 'varbinary', 'geometry', 'point'];
    private const TEXTS = ['char', 'varchar', 'tinytext', 'text', 'mediumtext', 'longtext', 'json', 'enum', 'set', 'uuid', 'inet4', 'inet6'];

    /**
     * @param int|null $characters how many it takes
     * @param int|null $octets     how many it takes
     */
    public function __construct(
        public readonly string $name,
        public readonly string $type,
        public readonly bool $isNullable,
        public readonly ?int $characters,
        public readonly ?int $octets,
        public readonly string $rule,
    ) {
    }

    public function isNumber(): bool
    {
        return in_array($this->type, self::NUMBERS, true);
    }

    public function isBytes(): bool
    {
        return in_array($this->type, self::BYTES, true);
    }

    public function isText(): bool
    {
        return in_array($this->type, self::TEXTS, true);
    }

    /** @return 'number'|'bytes'|'text' how a value is written in SQL */
    public function kind(): string
    {
        return match (true) {
            $this->isNumber() => 'number',
            $this->isBytes() => 'bytes',
            default => 'text',
        };
    }
}

/** Turns rules into functions, a column each. */
final class ColumnMasks
{
    public readonly Cleaner $cleaner;

    public function __construct(private readonly MaskingRules $rules, private readonly Pseudonyms $pseudonyms, string $siteUrl)
    {
        $fields = [];
        foreach ($rules->fields() as $alias => $rule) {
            $mask = 'null' === $rule ? static fn (): string => '' : $this->pseudonym($rule);
            if (null !== $mask) {
                $fields[$alias] = 'fake.email' === $rule ? $this->emailOrDomain(...) : $mask;
            }
        }
        $this->cleaner = new Cleaner($pseudonyms, $siteUrl, $rules->keys(), $fields);
    }

    /**
     * Returns what masks a value of a column that is not NULL, given its whole row as well; null when it
     * stays as it is.
     *
     * @param array<string, int> $positions of the row's columns by name
     *
     * @return Closure(string, list<string|null>):?string|null
     */
    public function mask(SourceColumn $column, array $positions): ?Closure
    {
        $rule = $column->rule;
        if (str_starts_with($rule, 'const:')) {
            $id = $positions['id'] ?? null;

            return static fn (string $value, array $row): string => str_replace('{id}', null === $id ? '' : (string) $row[$id], substr($rule, 6));
        }
        if (str_starts_with($rule, 'staff.name:')) {
            $user = $positions[substr($rule, 11)] ?? null;
            $name = $this->pseudonyms->staffName(...);

            return $this->fitting($column, static fn (string $value, array $row): string => '' === $value ? '' : $name((null === $user ? null : $row[$user]) ?? $value));
        }
        $own = $positions['id'] ?? 0;
        $type = $positions['type'] ?? null;
        $cleaner = $this->cleaner;
        $mask = match ($rule) {
            'keep' => $column->isText() ? $cleaner->addresses(...) : null,
            'null' => static fn (): ?string => $column->isNullable ? null : '',
            'text.scrub' => $cleaner->text(...),
            'site.rewrite' => $cleaner->site(...),
            'url.strip' => $cleaner->url(...),
            'php.keep' => static fn (string $value): string => '' === $value ? '' : $cleaner->php($value),
            'php.rewrite' => static fn (string $value, array $row): string => '' === $value ? '' : $cleaner->php($value, null === $type ? null : $row[$type], true),
            'json.keep' => static fn (string $value): string => '' === $value ? '' : $cleaner->json($value),
            'php.empty' => static fn (): string => 'a:0:{}',
            'json.empty' => static fn (): string => '[]',
            'date.month' => static fn (string $value): string => preg_replace('/\A(\d{4}-\d\d)-\d\d(?: \d\d:\d\d:\d\d(?:\.\d+)?)?\z/', '$1-01', $value),
            'staff.username' => fn (string $value, array $row): string => 'user-'.substr($this->pseudonyms->hash('username', (string) $row[$own]), 0, 12),
            'staff.last_name' => fn (string $value, array $row): string => $this->pseudonyms->staffLastName((string) $row[$own]),
            'published.builder' => static fn (string $value, array $row): string => 'GrapesJsBuilder' === $row[$positions['name']] ? $value : '0',
            'hash' => $column->isNumber() ? fn (string $value): string => (string) (hexdec(substr($this->pseudonyms->hash('number', $value), 0, 15)) % 10 ** 9) : $this->pseudonym($rule),
            default => $this->pseudonym($rule) ?? throw new LogicException("no such rule: {$rule}"),
        };

        return null === $mask || !$column->isText() ? $mask : $this->fitting($column, $mask);
    }

    /** @return Closure(string):string|null null when the rule makes no pseudonyms */
    private function pseudonym(string $rule): ?Closure
    {
        $made = match ($rule) {
            'fake.email' => $this->pseudonyms->email(...),
            'fake.phone' => $this->pseudonyms->phone(...),
            'fake.first_name' => $this->pseudonyms->firstName(...),
            'fake.last_name' => $this->pseudonyms->lastName(...),
            'fake.company' => $this->pseudonyms->company(...),
            'fake.street' => $this->pseudonyms->street(...),
            'fake.city' => $this->pseudonyms->city(...),
            'fake.zip' => $this->pseudonyms->zip(...),
            'fake.url' => $this->pseudonyms->url(...),
            'fake.ip' => $this->pseudonyms->ip(...),
            'text.lorem' => $this->pseudonyms->lorem(...),
            'hash' => fn (string $value): string => $this->pseudonyms->hash('hash', $value),
            default => null,
        };

        return null === $made ? null : static fn (string $value): string => '' === $value ? '' : $made($value);
    }

    /** What a filter compares addresses with may be a domain, or a pattern of one. */
    private function emailOrDomain(string $value): string
    {
        return preg_match('/\A([%*.^]*@?)((?:[\p{L}\p{N}-]+\.)+\p{L}{2,})([%*$]*)\z/u', $value, $found)
            ? $found[1].$this->pseudonyms->domain($found[2]).$found[3]
            : $this->pseudonyms->email($value);
    }

    /** Cuts what does not fit into the column; never through an address, whose rest would be another one. */
    private function fitting(SourceColumn $column, Closure $mask): Closure
    {
        [$characters, $octets] = [$column->characters, $column->octets];
        $isSerialised = (bool) preg_match('/\A(?:php|json)\./', $column->rule);
        $empty = str_starts_with($column->rule, 'php') ? 'a:0:{}' : '[]';

        return static function (string $value, array $row) use ($mask, $characters, $octets, $isSerialised, $empty): ?string {
            $masked = $mask($value, $row);
            if (null === $masked || null === $characters || (strlen($masked) <= $characters && strlen($masked) <= $octets)) {
                return $masked;
            }
            if (strlen($masked) <= $octets && mb_strlen($masked) <= $characters) {
                return $masked;
            }
            if ($isSerialised) {
                return $empty;
            }

            return preg_replace('/\S*@\S*\z/', '', mb_strcut(mb_substr($masked, 0, $characters), 0, $octets));
        };
    }
}
