<?php

declare(strict_types=1);

/**
 * Changes everything that is in Mautic's database.
 *
 *   load.php load [WORD…]    reads a dump (dump.php) from stdin, and puts it in the place of what is there
 *   load.php take [WORD…]    the same with a dump that another branch's container gives (handover.php), as a line of
 *                            JSON on stdin says
 *   load.php copy [WORD…]    puts what is in another database of the same server in the place of what is there.
 *                            stdin is a line of JSON, whose user may read it: {"database": "…", "user": "…",
 *                            "password": "…"}. It is read as for a dump: in one snapshot
 *   load.php reset [WORD…]   takes everything away: `mautic migrate` installs anew then
 *   load.php content         says what is there, as JSON, and changes nothing
 *
 * Words say what else changes in the same step (replacement.php): `migrate`, the tables are migrated before,
 * and a reset installs Mautic; `uploads`, those that were staged come along.
 *
 * The tables are filled in a database beside the branch's own and take its tables' places in one statement
 * (swap.php), so that whoever is killed leaves what was there or what was to come; the same command again
 * finishes. A dump that was cut off or damaged changes nothing. A migration that is at work is waited for.
 *
 * Environment: MAUTIC_DB_*, with `migrate` also that of migrate.php; in seconds MAUTIC_DB_WAIT, MAUTIC_MIGRATE_LOCK_WAIT for a migration, and
 * MAUTIC_DB_SWAP_WAIT for tables that are in use.
 *
 * Exit status: 0 done, 1 the dump is damaged or a statement failed, 75 no database in time, a migration
 * holds the lock, tables stay in use, or nobody gives, 76 what was given has ended early, 77 the database
 * refuses us or its host is unknown, 78 a setting is missing or wrong, 143 stopped by a signal.
 */
require_once '/opt/mautic/waiting.php';
require_once '/opt/mautic/database_lock.php';
require_once '/opt/mautic/dump_lines.php';
require_once '/opt/mautic/ending.php';
require_once '/opt/mautic/handover.php';
require_once '/opt/mautic/loader.php';
require_once '/opt/mautic/migrations.php';
require_once '/opt/mautic/replacement.php';
require_once '/opt/mautic/swap.php';

/** The statements of a dump. */
final class DumpReader
{
    /** @param iterable<string> $parts of a dump */
    public function __construct(private readonly iterable $parts)
    {
    }

    /**
     * Reads up to the end of the dump, and no further: who sends it may be unable to end it.
     *
     * @return Generator<string> a statement each; only with the last one it is known that all were right
     *
     * @throws Stop when something is missing or wrong
     */
    public function statements(): Generator
    {
        $inflate = inflate_init(ZLIB_ENCODING_GZIP);
        $ending = new Ending();
        $pending = '';
        $said = null;
        foreach ($this->parts as $bytes) {
            $text = '' === $bytes ? '' : @inflate_add($inflate, $bytes);
            if (false === $text) {
                throw new Stop('this is no dump, or it is damaged; nothing was changed', Stop::FAILED);
            }
            $lines = explode("\n", $pending.$text);
            $pending = array_pop($lines);
            foreach ($lines as $line) {
                if (null !== $said) {
                    throw new Stop('the dump goes on after its end; nothing was changed', Stop::FAILED);
                }
                if (Ending::isOne($line)) {
                    $said = "{$line}\n";
                    continue;
                }
                $ending->add("{$line}\n");
                yield $line;
            }
            if (ZLIB_STREAM_END === inflate_get_status($inflate)) {
                break;
            }
        }
        if (ZLIB_STREAM_END !== inflate_get_status($inflate)) {
            throw new Stop('the dump is cut off; nothing was changed', Stop::FAILED);
        }
        if ('' !== $pending || $said !== $ending->line()) {
            throw new Stop('the dump is not whole; nothing was changed', Stop::FAILED);
        }
    }
}

final class Load
{
    private const CHUNK_BYTES = 65_536;

    private readonly Waiting $waiting;
    private readonly string $database;
    private readonly PDO $server;

    /** @param array<string, mixed> $parameters Mautic's parameters, as in local.php */
    public function __construct(private readonly array $parameters)
    {
        $this->waiting = new Waiting('load');
        $this->database = $parameters['db_name'];
        $this->server = $this->waiting->connectAs($parameters, microtime(true) + self::seconds('MAUTIC_DB_WAIT', '60'));
    }

    /** @param list<string> $words */
    public function load(array $words): void
    {
        $this->fill($words, fn (): Generator => (new DumpReader($this->sent()))->statements());
    }

    /** @param list<string> $words */
    public function take(array $words, Handover $handover): void
    {
        $this->waiting->heed();
        $this->fill($words, fn (): Generator => (new DumpReader((new Taker($handover, $this->waiting))->parts()))->statements());
    }

    /** @param list<string> $words */
    public function copy(array $words, #[SensitiveParameter] string $line): void
    {
        $given = json_decode($line, true, 2);
        if (!is_array($given) || !isset($given['database'], $given['user'], $given['password'])) {
            throw new Stop('stdin must be a line of JSON: database, user, password', Stop::WRONG_SETTING);
        }
        $this->waiting->heed();
        $this->fill($words, fn (): Generator => $this->other($given));
    }

    /** @return Generator<string> */
    private function sent(): Generator
    {
        while (!feof(STDIN)) {
            yield (string) fread(STDIN, self::CHUNK_BYTES);
            $this->waiting->breakOnSignal();
        }
    }

    /**
     * @param list<string>                 $words
     * @param Closure(): Generator<string> $statements what fills the database beside; called once that is there
     */
    private function fill(array $words, Closure $statements): void
    {
        $replacement = Replacement::of($words, $this->waiting);
        $swap = $this->swap();
        $beside = $swap->begin();
        try {
            $this->server->exec('USE '.Source::identifier($beside));
            (new Loader($this->server, $this->waiting))->run($statements());
            if (in_array('uploads', $words, true)) {
                $this->leadToOwnFiles();
            }
            $this->server->exec('USE '.Source::identifier($this->database));
            $this->waiting->heed();
            $this->replace($swap, $beside, $replacement);
        } catch (Stop|PDOException $e) {
            $this->server->exec('USE '.Source::identifier($this->database));
            $swap->discard();
            $replacement->discard();
            throw $e;
        }
    }

    /** Takes a seed's folder out of the paths of assets: uploads that are staged have its files among the others. */
    private function leadToOwnFiles(): void
    {
        $table = $this->parameters['db_table_prefix'].'assets';
        $folder = Media::SEED.'/';
        if (is_dir(Media::path('files', Media::NEW.'/'.Media::SEED)) || [] === $this->server->query('SHOW TABLES LIKE '.$this->server->quote(addcslashes($table, '_%\\')))->fetchAll()) {
            return;
        }
        $update = $this->server->prepare('UPDATE '.Source::identifier($table).' SET path = SUBSTRING(path, ?) WHERE LEFT(path, ?) = ?');
        $update->execute([strlen($folder) + 1, strlen($folder), $folder]);
    }

    /**
     * Reads another database of the same server, by a connection of its own.
     *
     * @param array{database: string, user: string, password: string} $given
     *
     * @return Generator<string>
     */
    private function other(#[SensitiveParameter] array $given): Generator
    {
        ['db_host' => $host, 'db_port' => $port, 'db_table_prefix' => $prefix] = $this->parameters;
        $deadline = microtime(true) + self::seconds('MAUTIC_DB_WAIT', '60');
        $database = $this->waiting->connect($host, (int) $port, $given['database'], $given['user'], $given['password'], $deadline);
        $lines = new DumpLines($database, (string) $prefix, $this->waiting);
        yield from $lines->read($lines->begin());
    }

    /** @param list<string> $words */
    public function reset(array $words): void
    {
        $replacement = Replacement::of($words, $this->waiting);
        $this->waiting->heed();
        $swap = $this->swap();
        $beside = $swap->begin();
        try {
            $this->replace($swap, $beside, $replacement);
        } catch (Stop|PDOException $e) {
            $swap->discard();
            $replacement->discard();
            throw $e;
        }
    }

    private function replace(Swap $swap, string $beside, Replacement $replacement): void
    {
        $replacement->prepare($beside);
        $this->waiting->say("{$swap->finish(with: $replacement)} tables are in place");
    }

    public function content(): void
    {
        $migrations = new Migrations($this->server, (string) $this->parameters['db_table_prefix']);
        echo json_encode(array_filter($migrations->content()), JSON_THROW_ON_ERROR | JSON_FORCE_OBJECT), "\n";
    }

    private function swap(): Swap
    {
        DatabaseLock::take($this->server, $this->database, $this->waiting, self::seconds('MAUTIC_MIGRATE_LOCK_WAIT', '900'));

        return new Swap($this->server, $this->database, $this->waiting, self::seconds('MAUTIC_DB_SWAP_WAIT', '120'));
    }

    private static function seconds(string $name, string $default): int
    {
        return (int) MauticEnvironment::get($name, $default);
    }
}

runOrExit('load', static function () use ($argv): void {
    $load = new Load(mauticParameters());
    match ($argv[1] ?? '') {
        'load' => $load->load(array_slice($argv, 2)),
        'take' => $load->take(array_slice($argv, 2), Handover::fromInput((string) fgets(STDIN))),
        'copy' => $load->copy(array_slice($argv, 2), (string) fgets(STDIN)),
        'reset' => $load->reset(array_slice($argv, 2)),
        'content' => $load->content(),
        default => throw new Stop('say load, take, copy, reset or content', Stop::USAGE),
    };
});
