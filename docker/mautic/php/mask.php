<?php

declare(strict_types=1);

/**
 * Makes a seed of a Mautic's database: people's data masked, for environments that nobody may be reached from.
 *
 *   mask.php mask     reads the database, and writes MAUTIC_MASK_FOLDER/seed.sql.gz.enc, uploads.tar.enc if
 *                     MAUTIC_MASK_UPLOADS is 1, and manifest.json
 *   mask.php seed     the same to stdout, and the manifest as the last line on stderr; what MAUTIC_MASK_* say to
 *                     the others is a line of JSON on stdin: key, and salt, rules, contacts, per_group, canaries,
 *                     uploads; and server, {"host": …, "port": …, "user": …, "password": …}, what is other than
 *                     MAUTIC_DB_* say: a replica, a user who may only read
 *   mask.php unseal   writes the SQL of a seed from stdin to stdout, or the tar of its uploads
 *
 * Runs where the database is: only what is masked leaves. It reads in one snapshot, with no right but
 * SELECT, row by row; masks each value by its rule (masking_rules.php, masking.json); looks once more at
 * what it writes; and encrypts it as it goes. A table, a column or a plugin without a rule ends it before
 * the first row, by name; an address of mail outside example.com, or a canary, in what is about to be
 * written ends it as well. Then nothing is left. Which uploads go along, as they are, says seed_uploads.php.
 *
 * Environment: MAUTIC_DB_* and MAUTIC_SITE_URL of the source; MAUTIC_DB_WAIT in seconds; MAUTIC_MASK_FOLDER,
 * which is there and has no seed; MAUTIC_MASK_SALT_FILE, at least 32 characters that are nowhere else and
 * stay with the source (without it a random salt, which nobody keeps); MAUTIC_MASK_KEY_FILE, 64 hexadecimal
 * digits; MAUTIC_MASK_RULES, a file of the project's own rules; MAUTIC_MASK_CONTACTS, how many contacts go
 * along (0: all), MAUTIC_MASK_PER_GROUP at least of each segment and campaign; MAUTIC_MASK_CANARIES_FILE,
 * lines that must not be found; MAUTIC_MASK_UPLOADS, 1 where uploads go along.
 *
 * Exit status: 0 done, 1 something has no rule, the scan found something, or a statement failed, 64 used
 * wrongly, 75 no database in time, 77 the database refuses us or its host is unknown, 78 a setting is
 * missing or wrong, 143 stopped by a signal.
 */
require_once '/opt/mautic/waiting.php';
require_once '/opt/mautic/mask_settings.php';
require_once '/opt/mautic/subset.php';
require_once '/opt/mautic/inserts.php';
require_once '/opt/mautic/migrations.php';
require_once '/opt/mautic/seed_output.php';
require_once '/opt/mautic/seed_uploads.php';

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
    private const REPORT_SECONDS = 15;

    private readonly Waiting $waiting;
    private readonly string $site;
    private readonly Scan $scan;
    private float $reported;

    public function __construct(private readonly MaskSettings $settings, private readonly SeedOutput $output)
    {
        $this->waiting = new Waiting('mask');
        // Whoever has made the settings has read what there was to read.
        $this->waiting->heed();
        $this->site = MaskSettings::required('MAUTIC_SITE_URL');
        $this->scan = new Scan($settings->canaries);
    }

    /** @param array<string, mixed> $parameters Mautic's parameters, as in local.php */
    public function run(array $parameters): void
    {
        $started = microtime(true);
        $this->reported = $started;
        $database = $this->waiting->connectAs($parameters, $started + (int) MauticEnvironment::get('MAUTIC_DB_WAIT', '60'));
        $source = new Source($database, (string) $parameters['db_table_prefix']);
        $source->begin();
        $tables = $source->tables($this->settings->rules);
        $pseudonyms = new Pseudonyms($this->settings->salt);
        $subset = new Subset($source, $this->settings->rules, $pseudonyms);
        if ($this->settings->contacts > 0) {
            $subset->choose($this->settings->contacts, $this->settings->perGroup);
        }
        $masks = new ColumnMasks($this->settings->rules, $pseudonyms, $this->site);
        try {
            $seed = new SeedFile($this->output->open(SeedOutput::SQL), $this->settings->key);
            $seed->write(Inserts::OPENING);
            foreach ($source->definitions() as $definition) {
                $seed->write("{$definition};\n");
            }
            $rows = [];
            foreach ($tables as $table) {
                $rows[$table->plain] = $this->table($table, $subset, $masks, $seed, array_sum($rows));
            }
            $made = $seed->finish();
            $this->waiting->say(sprintf('%d rows of %d tables in %.1f s, %d bytes', array_sum($rows), count($rows), microtime(true) - $started, $made['bytes']));
            $migrations = isset($tables['migrations']) ? array_map($masks->cleaner->addresses(...), $source->column("SELECT version FROM {$source->quoted('migrations')} ORDER BY version")) : [];
            $uploads = $this->settings->uploads ? $this->uploads($source, $tables) : null;
            $this->output->finish([
                'format' => trim(SeedFile::MAGIC),
                'mautic' => Migrations::mautic(),
                // By which the loader knows what this seed still needs; cleaned as the table itself is.
                'migrations' => $migrations,
                'rules_sha256' => $this->settings->rules->hash(),
                'salt_id' => $pseudonyms->saltId(),
                'contacts' => $subset->count() ?? 'all',
                'rows' => $rows,
                'unreadable_values' => $masks->cleaner->unreadable,
                'scan' => ['values' => $this->scan->values, 'addresses_outside_example_com' => 0, 'canaries' => 0],
                'seconds' => round(microtime(true) - $started, 1),
                'sql_sha256' => $made['sha256'],
                'file_sha256' => $made['file_sha256'],
                'bytes' => $made['bytes'],
            ] + (null === $uploads ? [] : ['uploads' => $uploads]));
        } catch (Throwable $e) {
            $this->output->discard();
            throw $e;
        }
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
        $path = 'assets' === $table->plain ? $positions['path'] ?? null : null;
        $inserts = new Inserts($table->name, array_map(static fn (SourceColumn $column): string => $column->name, $table->columns), $kinds);
        $count = 0;
        foreach ($subset->rows($table) as $row) {
            if (null !== $watch) {
                $row = $watch($row);
            }
            if (null !== $path && null !== $row[$path]) {
                // A file that the branch shares goes along in the place of a copy.
                $row[$path] = substr(Media::place("files/{$row[$path]}"), strlen('files/'));
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

    /**
     * @param array<string, SourceTable> $tables
     *
     * @return array<string, mixed>|null as SeedUploads::write()
     */
    private function uploads(Source $source, array $tables): ?array
    {
        // Of the same moment as their rows, if these go along at all.
        $assets = isset($tables['assets']) && 'keep' === $this->settings->rules->rule('assets', 'path')
            ? $source->column("SELECT path FROM {$source->quoted('assets')} WHERE storage_location = 'local' AND path IS NOT NULL") : [];
        $source->end();

        return (new SeedUploads($assets, $this->waiting))->write($this->output, $this->settings->key);
    }

    private function report(SourceTable $table, int $rows): void
    {
        if (microtime(true) - $this->reported >= self::REPORT_SECONDS) {
            $this->reported = microtime(true);
            $this->waiting->say("{$rows} rows so far, in {$table->name}");
        }
    }
}

runOrExit('mask', static function () use ($argv): void {
    try {
        match ($argv[1] ?? '') {
            'mask' => (new Masking(MaskSettings::fromEnvironment(), new SeedFolder(MaskSettings::required('MAUTIC_MASK_FOLDER'))))->run(mauticParameters()),
            'seed' => (static function (): void {
                $settings = MaskSettings::fromInput((string) fgets(STDIN));
                if ([] !== $settings->server) {
                    // It does not start with us: an unknown name is a mistake.
                    putenv('MAUTIC_DB_OWN');
                }
                (new Masking($settings, new SeedStream()))->run([...mauticParameters(), ...$settings->server]);
            })(),
            'unseal' => (static function (): void {
                foreach (SeedFile::read(STDIN, MaskSettings::keyFromFile()) as $part) {
                    if (strlen($part) !== @fwrite(STDOUT, $part)) {
                        throw new Stop('nobody reads any more', Stop::FAILED);
                    }
                }
            })(),
            default => throw new Stop('say mask, seed or unseal', Stop::USAGE),
        };
    } catch (WrongVariable $e) {
        throw new Stop($e->getMessage(), Stop::WRONG_SETTING);
    }
});
