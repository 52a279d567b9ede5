<?php

declare(strict_types=1);

require_once '/opt/mautic/waiting.php';

/**
 * What happens to each table and column on its way out of a database, from masking.json and the project.
 *
 * A table is left out (`empty`), or each of its columns has a rule:
 *
 *   keep           as it is; addresses of mail in text become pseudonyms all the same
 *   php.keep, json.keep     the same, inside serialised values
 *   text.scrub     free text: addresses, telephone numbers and the source's own site
 *   site.rewrite   designed content: addresses and the source's own site
 *   url.strip      an address of a page, without query and fragment
 *   php.rewrite    serialised; also by the names of keys (`keys`), and contacts' fields by their own rules
 *   null, php.empty, json.empty, const:TEXT     {id} in TEXT is the row's
 *   fake.…, staff.…, text.lorem, hash           pseudonyms (pseudonyms.php)
 *   staff.name:COLUMN       the name of the user whose id is in COLUMN
 *   date.month     the first day of the month
 *   published.builder       0, but for the editor of e-mails and pages
 *   generated      the server computes it
 *
 * Which rows of a table go along when not all contacts do: `contact` names the column with the contact's
 * id, `through` a table and the column with the id of its row; of a `named` table, the rows that rows
 * already taken refer to (`references`). Of all others every row does.
 */
final class MaskingRules
{
    /** What a project may choose from, beside const:TEXT. */
    private const CHOICE = ['keep', 'null', 'hash', 'text.lorem', 'text.scrub', 'url.strip', 'php.keep', 'php.empty', 'php.rewrite', 'json.keep', 'json.empty', 'date.month', 'generated',
        'fake.email', 'fake.phone', 'fake.url', 'fake.first_name', 'fake.last_name', 'fake.company', 'fake.street', 'fake.city', 'fake.zip', 'fake.ip', 'site.rewrite'];
    /** A contact's own column is never kept under such a name. */
    private const DENIED = '/birth|ssn|iban|vat|tax|pass|token|secret|salary/i';
    private const FORM_RESULTS = '/\Aform_results_(\d+)_/';
    private const FILE = '/opt/mautic/masking.json';

    /** @var array<string, array<string, mixed>> by table, each with its columns' rules under `rules` */
    private array $tables;
    /** @var array<string, array<string, string>> rules of custom columns, by kind (lead or company) and alias */
    private array $custom = ['lead' => [], 'company' => []];
    /** @var array<int, array<string, string>> rules of forms' answers, by form and alias */
    private array $answers = [];

    /**
     * @param array<string, mixed> $own     masking.json
     * @param array<string, mixed> $project what the project adds
     * @param string               $where   where that stands
     */
    private function __construct(private readonly array $own, private readonly array $project, public readonly string $where)
    {
        foreach ($own['tables'] as $name => $table) {
            $this->tables[$name] = ['rules' => self::byColumn($table['columns'] ?? [])] + $table;
        }
        foreach ($project['tables'] ?? [] as $name => $table) {
            $this->add((string) $name, $table);
        }
    }

    /** @param string $file what the project adds, as JSON; may be empty */
    public static function load(string $file): self
    {
        $text = '' === $file ? '{}' : @file_get_contents($file);
        if (false === $text) {
            throw new Stop("MAUTIC_MASK_RULES: {$file} cannot be read", Stop::WRONG_SETTING);
        }

        return self::with(json_decode($text, true, 16), "MAUTIC_MASK_RULES ({$file})");
    }

    /**
     * @param mixed  $project what the project adds
     * @param string $where   where that stands
     */
    public static function with(mixed $project, string $where): self
    {
        $isKnown = is_array($project) && [] === array_diff_key($project, ['tables' => 0, 'plugins' => 0]);
        if (!$isKnown || !is_array($project['tables'] ?? []) || !self::areTexts($project['plugins'] ?? [])) {
            throw new Stop("{$where} must be a JSON object with tables, by name, and plugins, a list of names", Stop::WRONG_SETTING);
        }

        return new self(json_decode((string) file_get_contents(self::FILE), true, 16, JSON_THROW_ON_ERROR), $project, $where);
    }

    /** Identifies the rules: the same hash, the same rules. */
    public function hash(): string
    {
        return hash('sha256', json_encode([$this->own, $this->project], JSON_THROW_ON_ERROR));
    }

    /**
     * Learns the rules of what an installation adds to the schema itself.
     *
     * @param list<array<string, mixed>> $fields  rows of lead_fields: object, alias, type, is_unique_identifer
     * @param list<array<string, mixed>> $answers rows of form_fields: form_id, alias, type, object and field it is mapped to
     */
    public function learn(array $fields, array $answers): void
    {
        foreach ($fields as $field) {
            $kind = 'company' === $field['object'] ? 'company' : 'lead';
            $rule = match (true) {
                (bool) preg_match(self::DENIED, $field['alias']) => 'null',
                1 === (int) $field['is_unique_identifer'] => 'hash',
                default => $this->own['fields'][$field['type']] ?? null,
            };
            if (null !== $rule) {
                $this->custom[$kind][$field['alias']] = $rule;
            }
        }
        foreach ($answers as $answer) {
            $table = 'company' === $answer['mapped_object'] ? 'companies' : 'leads';
            $this->answers[(int) $answer['form_id']][$answer['alias']] =
                (null === $answer['mapped'] ? null : $this->rule($table, $answer['mapped'])) ?? $this->own['forms'][$answer['type']] ?? 'null';
        }
    }

    /** Whether a table has rules, which may be that nothing of it goes along. */
    public function hasTable(string $table): bool
    {
        return isset($this->tables[$table]) || preg_match(self::FORM_RESULTS, $table);
    }

    public function isEmpty(string $table): bool
    {
        return $this->tables[$table]['empty'] ?? false;
    }

    /** The rule of a column; null when it has none. */
    public function rule(string $table, string $column): ?string
    {
        if (!isset($this->tables[$table]) && preg_match(self::FORM_RESULTS, $table, $found)) {
            // What is no answer to a question of today is nobody's any more.
            return in_array($column, ['submission_id', 'form_id'], true) ? 'keep' : $this->answers[(int) $found[1]][$column] ?? 'null';
        }
        $kind = $this->tables[$table]['fields'] ?? null;

        return $this->tables[$table]['rules'][$column] ?? (null === $kind ? null : $this->custom[$kind][$column] ?? null);
    }

    /** @return array<string, string> the rules of contacts' and companies' fields, by alias */
    public function fields(): array
    {
        return $this->tables['leads']['rules'] + $this->tables['companies']['rules'] + $this->custom['lead'] + $this->custom['company'];
    }

    /** The column with the contact's id; null when there is none. */
    public function contact(string $table): ?string
    {
        return $this->tables[$table]['contact'] ?? null;
    }

    /** @return array{string, string}|null the table through which a row belongs to a contact, and the column with its id */
    public function through(string $table): ?array
    {
        if (!isset($this->tables[$table])) {
            return ['form_submissions', 'submission_id'];
        }
        $through = $this->tables[$table]['through'] ?? [];

        return [] === $through ? null : [array_key_first($through), reset($through)];
    }

    public function isNamed(string $table): bool
    {
        return $this->tables[$table]['named'] ?? false;
    }

    /** @return array<string, string> the tables that columns of these names refer to */
    public function references(): array
    {
        return $this->own['references'];
    }

    /** @return array<string, array<string, string>> what becomes of keys, by the row's type or * */
    public function keys(): array
    {
        return array_map(self::byColumn(...), $this->own['keys']);
    }

    /**
     * @param list<string> $bundles
     *
     * @return list<string> those that have no rule
     */
    public function unknownPlugins(array $bundles): array
    {
        return array_values(array_diff($bundles, $this->own['plugins'], $this->project['plugins'] ?? []));
    }

    /**
     * What tables are read in the order of: those with contacts first, for they name rows of others, which
     * in turn others belong to.
     *
     * @return list<int> to be compared with another table's
     */
    public function turn(string $table): array
    {
        $parent = $this->through($table)[0] ?? null;
        $phase = match (true) {
            null !== $this->contact($table) => 0,
            $this->isNamed($table) => 2,
            null !== $parent && $this->isNamed($parent) => 3,
            default => 1,
        };

        return [$phase, array_search($table, array_keys($this->tables), true) ?: 0];
    }

    private function add(string $name, mixed $table): void
    {
        $wrong = fn (string $why): Stop => new Stop("{$this->where}: {$name}: {$why}", Stop::WRONG_SETTING);
        if (!is_array($table) || [] !== array_diff_key($table, ['empty' => 0, 'columns' => 0, 'contact' => 0, 'through' => 0, 'why' => 0])) {
            throw $wrong('must have columns, or empty; and may have contact, through and why');
        }
        $isOwn = isset($this->tables[$name]);
        if (true === ($table['empty'] ?? false)) {
            $this->tables[$name] = ['empty' => true, 'rules' => []] + ($this->tables[$name] ?? []);

            return;
        }
        $columns = $table['columns'] ?? [];
        if (!is_array($columns) || $columns !== array_filter($columns, static fn (mixed $names): bool => self::areTexts((array) $names))) {
            throw $wrong('columns must have, by rule, the names of columns');
        }
        $rules = self::byColumn($columns);
        foreach ($rules as $column => $rule) {
            $rule = (string) $rule;
            if (!in_array($rule, self::CHOICE, true) && !str_starts_with($rule, 'const:')) {
                throw $wrong("'{$rule}' of {$column} is no rule");
            }
            // A project may tell more of a table, and may take more away; it cannot let out what is masked.
            if (isset($this->tables[$name]['rules'][$column]) && !in_array($rule, ['null', 'hash'], true)) {
                throw $wrong("{$column} has a rule already, which can only become null or hash");
            }
        }
        if ($isOwn && ($this->isEmpty($name) || isset($table['contact']) || isset($table['through']))) {
            throw $wrong('which rows of it go along is settled already');
        }
        $this->tables[$name] = ['rules' => $rules + ($this->tables[$name]['rules'] ?? [])] + ($this->tables[$name] ?? []) + $table;
    }

    private static function areTexts(mixed $value): bool
    {
        return is_array($value) && array_is_list($value) && $value === array_filter($value, is_string(...));
    }

    /**
     * @param array<string, list<string>> $columns by rule
     *
     * @return array<string, string> rules by column
     */
    private static function byColumn(array $columns): array
    {
        $rules = [];
        foreach ($columns as $rule => $names) {
            $rules += array_fill_keys((array) $names, $rule);
        }

        return $rules;
    }
}
