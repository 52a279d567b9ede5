<?php

declare(strict_types=1);

/**
 * Makes a seed of a Mautic's database: people's data masked, for environments that nobody may be reached from.
 *
 *   mask.php mask     reads the database, and writes MAUTIC_MASK_FOLDER/seed.sql.gz.enc and manifest.json
 *   mask.php unseal   writes the SQL of a seed to stdout
 *
 * Runs where the database is: only what is masked leaves. It reads in one snapshot, with no right but
 * SELECT, row by row; masks each value by its rule (masking_rules.php, masking.json); looks once more at
 * what it writes; and encrypts it as it goes. A table, a column or a plugin without a rule ends it before
 * the first row, by name; an address of mail outside example.com, or a canary, in what is about to be
 * written ends it as well. Then nothing is left.
 *
 * Environment: MAUTIC_DB_* and MAUTIC_SITE_URL of the source; MAUTIC_DB_WAIT in seconds; MAUTIC_MASK_FOLDER,
 * which is there and has no seed; MAUTIC_MASK_SALT_FILE, at least 32 characters that are nowhere else and
 * stay with the source; MAUTIC_MASK_KEY_FILE, 64 hexadecimal digits; MAUTIC_MASK_RULES, a file of the
 * project's own rules; MAUTIC_MASK_CONTACTS, how many contacts go along (0: all), MAUTIC_MASK_PER_GROUP at
 * least of each segment and campaign; MAUTIC_MASK_CANARIES_FILE, lines that must not be found.
 *
 * Exit status: 0 done, 1 something has no rule, the scan found something, or a statement failed, 64 used
 * wrongly, 75 no database in time, 77 the database refuses us or its host is unknown, 78 a setting is
 * missing or wrong, 143 stopped by a signal.
 */
require_once '/opt/mautic/waiting.php';
require_once '/opt/mautic/masking_rules.php';
require_once '/opt/mautic/subset.php';
require_once '/opt/mautic/seed_file.php';
require_once '/opt/mautic/inserts.php';
require_once '/opt/mautic/migrations.php';

/** Looks at what is about to be written, whatever masked it. */
final class Scan
{
    private readonly string $canaries;
    public int $values = 0;

    /** @param list<string> $canaries */
    public function __construct(array $canaries)
    {
        $this->canaries = [] === $canaries ? '' : '~'.implode('|', array_map(static fn (string $each): string => preg_quote($each, '~'), $canaries)).'~i';
    }

    /** @throws Stop naming the column, never the value */
    public function look(string $value, SourceTable $table, SourceColumn $column): void
    {
        ++$this->values;
        $found = match (true) {
            Cleaner::hasForeignAddress($value) => 'an address of mail outside example.com',
            '' !== $this->canaries && preg_match($this->canaries, $value) => 'a canary',
            default => null,
        };
        if (null !== $found) {
            throw new Stop("{$found} would leave in {$table->name}.{$column->name}", Stop::FAILED);
        }
    }
}

final class Masking
{
    private const MANIFEST = 'manifest.json';
    private const REPORT_SECONDS = 15;

    private readonly Waiting $waiting;
    private readonly string $folder;
    private readonly string $salt;
    private readonly string $key;
    private readonly string $site;
    private readonly int $contacts;
    private readonly int $perGroup;
    private readonly MaskingRules $rules;
    private readonly Scan $scan;
    private float $reported;

    public function __construct()
    {
        $this->waiting = new Waiting('mask');
        $this->folder = self::required('MAUTIC_MASK_FOLDER');
        $this->site = self::required('MAUTIC_SITE_URL');
        $this->salt = secretOf('MAUTIC_MASK_SALT', '/\A.{32,}\z/s', 'hold at least 32 characters');
        $this->key = keyOf('MAUTIC_MASK_KEY');
        $this->contacts = self::number('MAUTIC_MASK_CONTACTS', MauticEnvironment::get('MAUTIC_MASK_CONTACTS', '0'));
        $this->perGroup = self::number('MAUTIC_MASK_PER_GROUP', MauticEnvironment::get('MAUTIC_MASK_PER_GROUP', '5'));
        $this->rules = MaskingRules::load((string) MauticEnvironment::get('MAUTIC_MASK_RULES'));
        $canaries = (string) MauticEnvironment::get('MAUTIC_MASK_CANARIES');
        $this->scan = new Scan(preg_split('/\R/', $canaries, -1, PREG_SPLIT_NO_EMPTY));
        // Written last: without it a seed is what a run that was killed has left.
        if (file_exists("{$this->folder}/".self::MANIFEST)) {
            throw new Stop("MAUTIC_MASK_FOLDER: {$this->folder} has a seed already", Stop::WRONG_SETTING);
        }
    }

    /** @param array<string, mixed> $parameters Mautic's parameters, as in local.php */
    public function run(array $parameters): void
    {
        $started = microtime(true);
        $this->reported = $started;
        $database = $this->waiting->connectAs($parameters, $started + (int) MauticEnvironment::get('MAUTIC_DB_WAIT', '60'));
        $source = new Source($database, (string) $parameters['db_table_prefix']);
        $source->begin();
        $tables = $source->tables($this->rules);
        $pseudonyms = new Pseudonyms($this->salt);
        $subset = new Subset($source, $this->rules, $pseudonyms);
        if ($this->contacts > 0) {
            $subset->choose($this->contacts, $this->perGroup);
        }
        $masks = new ColumnMasks($this->rules, $pseudonyms, $this->site);
        $seed = new SeedFile($this->folder, $this->key);
        try {
            $seed->write(Inserts::OPENING);
            foreach ($source->definitions() as $definition) {
                $seed->write("{$definition};\n");
            }
            $rows = [];
            foreach ($tables as $table) {
                $rows[$table->plain] = $this->table($table, $subset, $masks, $seed, array_sum($rows));
            }
            $made = $seed->finish();
        } finally {
            $seed->discard();
        }
        $this->writeManifest([
            'format' => trim(SeedFile::MAGIC),
            'mautic' => Migrations::mautic(),
            // By which the loader knows what this seed still needs; cleaned as the table itself is.
            'migrations' => isset($tables['migrations']) ? array_map($masks->cleaner->addresses(...), $source->column("SELECT version FROM {$source->quoted('migrations')} ORDER BY version")) : [],
            'rules_sha256' => $this->rules->hash(),
            'salt_id' => $pseudonyms->saltId(),
            'contacts' => $subset->count() ?? 'all',
            'rows' => $rows,
            'unreadable_values' => $masks->cleaner->unreadable,
            'scan' => ['values' => $this->scan->values, 'addresses_outside_example_com' => 0, 'canaries' => 0],
            'seconds' => round(microtime(true) - $started, 1),
        ] + $made);
        $this->waiting->say(sprintf('%d rows of %d tables in %.1f s, %d bytes', array_sum($rows), count($rows), microtime(true) - $started, $made['bytes']));
    }

    /** @return int how many rows went along */
    private function table(SourceTable $table, Subset $subset, ColumnMasks $masks, SeedFile $seed, int $before): int
    {
        $positions = $table->positions();
        $mask = $kinds = [];
        foreach ($table->columns as $i => $column) {
            $mask[$i] = $masks->mask($column, $positions);
            $kinds[$i] = $column->kind();
        }
        $watch = $subset->watch($table);
        $mask = array_filter($mask);
        $inserts = new Inserts($table->name, array_map(static fn (SourceColumn $column): string => $column->name, $table->columns), $kinds);
        $count = 0;
        foreach ($subset->rows($table) as $row) {
            if (null !== $watch) {
                $row = $watch($row);
            }
            $masked = $row;
            foreach ($mask as $i => $each) {
                if (null !== $row[$i]) {
                    $masked[$i] = $each($row[$i], $row);
                }
            }
            foreach ($masked as $i => $value) {
                if (null !== $value && 'text' === $kinds[$i]) {
                    $this->scan->look($value, $table, $table->columns[$i]);
                }
            }
            if ('' !== $statements = $inserts->add($masked)) {
                $seed->write($statements);
                $this->waiting->breakOnSignal();
                $this->report($table, $before + $count);
            }
            ++$count;
        }
        $seed->write($inserts->rest());
        $this->waiting->breakOnSignal();

        return $count;
    }

    private function report(SourceTable $table, int $rows): void
    {
        if (microtime(true) - $this->reported >= self::REPORT_SECONDS) {
            $this->reported = microtime(true);
            $this->waiting->say("{$rows} rows so far, in {$table->name}");
        }
    }

    /** @param array<string, mixed> $manifest */
    private function writeManifest(array $manifest): void
    {
        $text = json_encode($manifest, JSON_THROW_ON_ERROR | JSON_PRETTY_PRINT | JSON_UNESCAPED_SLASHES)."\n";
        $unfinished = "{$this->folder}/.".self::MANIFEST;
        if (strlen($text) !== @file_put_contents($unfinished, $text) || !rename($unfinished, "{$this->folder}/".self::MANIFEST)) {
            throw new Stop("{$this->folder}/".self::MANIFEST.' cannot be written', Stop::FAILED);
        }
    }

    private static function required(string $name): string
    {
        return MauticEnvironment::get($name) ?? throw new Stop("{$name} is not set", Stop::WRONG_SETTING);
    }

    private static function number(string $name, string $value): int
    {
        return preg_match('/\A\d{1,9}\z/', $value) ? (int) $value : throw new Stop("{$name} must be a whole number, not '{$value}'", Stop::WRONG_SETTING);
    }
}

/** Reads a secret from the file that NAME_FILE names; a variable would be seen by whoever may look at the Job. */
function secretOf(string $name, string $pattern, string $must): string
{
    if ('' !== (string) getenv($name)) {
        throw new Stop("{$name} is not read: give {$name}_FILE, the name of a file that holds it", Stop::WRONG_SETTING);
    }
    $value = MauticEnvironment::get($name) ?? throw new Stop("{$name}_FILE is not set", Stop::WRONG_SETTING);

    return preg_match($pattern, $value) ? $value : throw new Stop("{$name}_FILE must {$must}", Stop::WRONG_SETTING);
}

function keyOf(string $name): string
{
    return sodium_hex2bin(secretOf($name, '/\A[0-9a-f]{64}\z/i', 'hold 64 hexadecimal digits'));
}

runOrExit('mask', static function () use ($argv): void {
    try {
        match ($argv[1] ?? '') {
            'mask' => (new Masking())->run(mauticParameters()),
            'unseal' => (static function (): void {
                foreach (SeedFile::read(STDIN, keyOf('MAUTIC_MASK_KEY')) as $part) {
                    if (strlen($part) !== @fwrite(STDOUT, $part)) {
                        throw new Stop('nobody reads any more', Stop::FAILED);
                    }
                }
            })(),
            default => throw new Stop('say mask or unseal', Stop::USAGE),
        };
    } catch (WrongVariable $e) {
        throw new Stop($e->getMessage(), Stop::WRONG_SETTING);
    }
});
