<?php

declare(strict_types=1);

/**
 * Writes what was uploaded to a Mautic, or puts it in the place of what is there.
 *
 *   uploads.php dump    to stdout a tar of media/files, images and dashboards; then stderr has "uploads: whole " and
 *                       JSON: bytes and sha256 of it
 *   uploads.php give    the same to another branch's container (handover.php), as a line of JSON on stdin says
 *   uploads.php stage   reads uploads from stdin, and unpacks them beside those that are there. stdin is a line
 *                       of JSON. With {"key": "…", "bytes": 0, "sha256": "…"} the sealed uploads of a seed
 *                       follow (seed_uploads.php), of so many bytes; the checksum is the tar's. With {} such a tar
 *                       as dump writes follows in parts, so that whoever sends it need not know its size
 *                       before: a line with the number of bytes, then these; a line with 0 is behind the last
 *                       one, and then a line with the tar's checksum
 *   uploads.php take    the same with such a tar as another branch's container gives, as a line of JSON says
 *   uploads.php empty   the same without any
 *   uploads.php place   moves what is staged into the place of what is there; `database load uploads` and the
 *                       like do so along with the tables
 *   uploads.php fill    reads the sealed uploads of a seed, as stage does, into folders that its branches share:
 *                       all of it or, as far as anybody can tell, nothing. What is whole stays; of several at
 *                       once one fills, and the others wait
 *   uploads.php begin   gives a branch that shares them what Mautic does not find there, the dashboards
 *
 * What is staged is nobody's yet: cut off before all of it has come and is right, it is gone, and nothing is
 * changed. Whoever is killed while it is moved runs it again. All but dump, give, fill and begin wait for whoever
 * changes the database: a load that nobody wants any more may not have ended yet, and then removes what is staged.
 *
 * Environment, but for these: MAUTIC_DB_*; MAUTIC_DB_WAIT and MAUTIC_MIGRATE_LOCK_WAIT in seconds.
 *
 * Exit status: 0 done, 1 the tar is damaged or cut off, or a file cannot be written, 64 used wrongly, 75 no
 * database in time, it is being changed, or the other container was not reached, or has not come, 76 that one has
 * ended early, 77 the database refuses us, 78 the line of JSON or a setting is wrong,
 * 143 stopped by a signal.
 */
require_once '/opt/mautic/database_lock.php';
require_once '/opt/mautic/handover.php';
require_once '/opt/mautic/mask_settings.php';
require_once '/opt/mautic/media.php';
require_once '/opt/mautic/seed_file.php';
require_once '/opt/mautic/uploads_swap.php';

final class Uploads
{
    private const CHUNK_BYTES = 65_536;
    private const LOOK_MICROSECONDS = 200_000;
    /** GNU tar: some files changed while they were read. */
    private const CHANGED = 1;

    private readonly Waiting $waiting;
    private readonly UploadsSwap $swap;
    /** Holds DatabaseLock to the end. */
    private PDO $server;

    public function __construct()
    {
        $this->waiting = new Waiting('uploads');
        $this->swap = new UploadsSwap();
    }

    public function dump(?Handover $handover = null): void
    {
        $this->waiting->heed();
        $giver = $handover ? new Giver($handover, $this->waiting) : null;
        $options = ['--create', '--file=-', '--exclude='.Media::WHOLE, '--exclude=./*/'.Media::NEW, '--exclude=./*/'.Media::OLD, '--exclude=lost+found'];
        [$tar, $pipe] = $this->tar([...$options, ...self::shared(), ...array_map(static fn (string $each): string => "./{$each}", Media::FOLDERS)], 1);
        $hash = hash_init('sha256');
        $size = 0;
        while (!feof($pipe)) {
            $this->waiting->breakOnSignal();
            $bytes = (string) fread($pipe, self::CHUNK_BYTES);
            hash_update($hash, $bytes);
            $size += strlen($bytes);
            if ($giver) {
                $giver->write($bytes);
            } elseif (strlen($bytes) !== @fwrite(STDOUT, $bytes)) {
                throw new Stop('nobody reads any more', Stop::FAILED);
            }
        }
        fclose($pipe);
        $status = proc_close($tar);
        if (0 !== $status && self::CHANGED !== $status) {
            throw new Stop("tar ended with status {$status}", Stop::FAILED);
        }
        $giver?->finish();
        $this->waiting->say('whole '.json_encode(['bytes' => $size, 'sha256' => hash_final($hash)], JSON_THROW_ON_ERROR));
    }

    /**
     * Says how tar takes along what a seed's branches share, in the places that it would have as a copy: whoever
     * unpacks it needs no seed. The branch's own come after it, and win.
     *
     * @return list<string>
     */
    private static function shared(): array
    {
        $folders = array_values(array_filter(Media::FOLDERS, Media::isShared(...)));
        $own = array_map(static fn (string $each): string => "--exclude=./{$each}/".Media::SEED, $folders);
        // The dashboards are copies already.
        $seed = array_map(static fn (string $each): string => '.'.Media::path($each, Media::SEED), array_diff($folders, ['dashboards']));

        return [
            '--anchored', ...$own, '--transform=s,^\.'.Media::ROOT.'/\([a-z]*\)/'.Media::SEED.',./\1,',
            '--directory=/', ...$seed, '--directory='.Media::ROOT,
        ];
    }

    public function stage(#[SensitiveParameter] string $line): void
    {
        if ([] === json_decode($line, true, 2)) {
            $this->stageBy(fn () => $this->unpack(self::sent(), static fn (): string => trim((string) fgets(STDIN))));

            return;
        }
        $seed = self::seed($line);
        $this->stageBy(fn () => $this->unseal($seed));
    }

    public function fill(#[SensitiveParameter] string $line): void
    {
        $seed = self::seed($line);
        // One in each, for each may have been removed.
        $notes = array_map(static fn (string $each) => @fopen(Media::path($each, Media::WHOLE), 'c+') ?: throw new Stop(Media::path($each).' cannot be written to', Stop::FAILED), Media::FOLDERS);
        // Held to the end; whoever is killed lets go of it.
        while (!flock($notes[0], LOCK_EX | LOCK_NB)) {
            $this->waiting->breakOnSignal();
            usleep(self::LOOK_MICROSECONDS);
        }
        if ([] === array_filter($notes, static fn ($each): bool => false === fgets($each))) {
            $this->waiting->say('the files are there');

            return;
        }
        try {
            $this->unseal($seed);
            foreach (Media::FOLDERS as $folder) {
                if (file_exists(Media::path($folder, Media::NEW.'/'.Media::SEED))) {
                    throw new Stop("the seed has {$folder}/".Media::SEED.', which shared uploads hide: its branches need seeds.uploads: copy', Stop::FAILED);
                }
            }
        } catch (Stop $e) {
            $this->swap->discard();
            throw $e;
        }
        $this->swap->finish();
        foreach ($notes as $note) {
            fwrite($note, "{$seed['sha256']}\n");
        }
        $this->waiting->say('the files are in place');
    }

    public function begin(): void
    {
        if (Media::isShared('dashboards')) {
            self::add('dashboards/'.Media::SEED, 'dashboards');
        }
    }

    /** Copies into a folder what it does not have; Mautic keeps each user's dashboards in one of their own. */
    private static function add(string $from, string $to): void
    {
        foreach (Media::entries($from) as $name) {
            [$source, $own] = [Media::path($from, $name), Media::path($to, $name)];
            if (!file_exists($own) && !(is_dir($source) ? @mkdir($own) : @copy($source, $own))) {
                throw new Stop("{$own} cannot be written; run it again", Stop::FAILED);
            }
            if (is_dir($source)) {
                self::add("{$from}/{$name}", "{$to}/{$name}");
            }
        }
    }

    public function take(Handover $handover): void
    {
        $this->waiting->heed();
        $this->stageBy(fn () => $this->unpack((new Taker($handover, $this->waiting))->parts()));
    }

    public function empty(): void
    {
        $this->lock();
        $this->swap->begin();
    }

    public function place(): void
    {
        $this->lock();
        $this->swap->finish();
        $this->waiting->say('the files are in place');
    }

    /** @param Closure(): void $unpack what stages the files */
    private function stageBy(Closure $unpack): void
    {
        $this->lock();
        try {
            $unpack();
        } catch (Stop $e) {
            $this->swap->discard();
            throw $e;
        }
        $this->waiting->say('the files are staged');
    }

    private function lock(): void
    {
        $parameters = mauticParameters();
        $this->server = $this->waiting->connectAs($parameters, microtime(true) + (int) MauticEnvironment::get('MAUTIC_DB_WAIT', '60'));
        DatabaseLock::take($this->server, $parameters['db_name'], $this->waiting, (int) MauticEnvironment::get('MAUTIC_MIGRATE_LOCK_WAIT', '900'));
    }

    /** @return array{key: string, bytes: int, sha256: string} what a line of JSON says of a seed's uploads */
    private static function seed(#[SensitiveParameter] string $line): array
    {
        $given = json_decode($line, true, 2);
        if (!is_array($given) || !is_int($given['bytes'] ?? null) || !is_string($given['sha256'] ?? null)) {
            throw new Stop('stdin must begin with a line of JSON: key, bytes, sha256, or nothing', Stop::WRONG_SETTING);
        }

        return ['key' => MaskSettings::key((string) ($given['key'] ?? ''), 'key')] + $given;
    }

    /** @param array{key: string, bytes: int, sha256: string} $seed */
    private function unseal(#[SensitiveParameter] array $seed): void
    {
        $this->unpack(SeedFile::read(STDIN, $seed['key'], $seed['bytes']), static fn (): string => $seed['sha256']);
        $this->requirePlain();
    }

    /** Refuses what is staged where there are not files and folders alone. */
    private function requirePlain(): void
    {
        foreach (Media::FOLDERS as $folder) {
            if (!self::isPlain("{$folder}/".Media::NEW)) {
                throw new Stop("{$folder} would get what is neither file nor folder; nothing was changed", Stop::FAILED);
            }
        }
    }

    /**
     * @param iterable<string>        $parts  of a tar
     * @param Closure(): string|null $sha256 asked for the checksum behind them, where they are not known to be right
     */
    private function unpack(iterable $parts, ?Closure $sha256 = null): void
    {
        $this->swap->begin();
        $where = 'flags=rh;s,^\./\([^/]*\),./\1/'.Media::NEW.',';
        [$tar, $pipe] = $this->tar(['--extract', '--file=-', "--transform={$where}", '--no-same-owner'], 0);
        try {
            $this->receive($pipe, $parts, $sha256);
        } finally {
            fclose($pipe);
            $status = proc_close($tar);
        }
        if (0 !== $status) {
            throw new Stop("tar ended with status {$status}; nothing was changed", Stop::FAILED);
        }
    }

    /** @return Generator<string> what is sent in parts, and no more */
    private static function sent(): Generator
    {
        while (($left = self::size()) > 0) {
            for (; $left > 0; $left -= strlen($bytes)) {
                $bytes = (string) fread(STDIN, min($left, self::CHUNK_BYTES));
                if ('' === $bytes && feof(STDIN)) {
                    throw new Stop('not all of it has come; nothing was changed', Stop::FAILED);
                }
                yield $bytes;
            }
        }
    }

    private static function size(): int
    {
        $line = (string) fgets(STDIN);
        if (!preg_match('/\A\d{1,9}\n\z/', $line)) {
            throw new Stop('not all of it has come; nothing was changed', Stop::FAILED);
        }

        return (int) $line;
    }

    /** Says whether there are files and folders alone in a folder, and no links. */
    private static function isPlain(string $folder): bool
    {
        foreach (Media::entries($folder) as $entry) {
            $path = Media::path($folder, $entry);
            if (is_link($path) || !(is_dir($path) ? self::isPlain("{$folder}/{$entry}") : is_file($path))) {
                return false;
            }
        }

        return true;
    }

    /**
     * @param resource               $pipe
     * @param iterable<string>       $parts
     * @param Closure(): string|null $sha256
     */
    private function receive($pipe, iterable $parts, ?Closure $sha256): void
    {
        $hash = hash_init('sha256');
        foreach ($parts as $bytes) {
            $this->waiting->breakOnSignal();
            hash_update($hash, $bytes);
            if (strlen($bytes) !== @fwrite($pipe, $bytes)) {
                throw new Stop('this is no tar of uploads, or there is no room for it; nothing was changed', Stop::FAILED);
            }
        }
        if ($sha256 && hash_final($hash) !== $sha256()) {
            throw new Stop('the files are not those that were sent; nothing was changed', Stop::FAILED);
        }
    }

    /**
     * Starts tar in the folder of the uploads.
     *
     * @param list<string> $arguments
     * @param 0|1          $stream    stdin or stdout
     *
     * @return array{resource, resource} the process, and that stream of it
     */
    private function tar(array $arguments, int $stream): array
    {
        $streams = [0 => ['file', '/dev/null', 'r'], 1 => STDERR, 2 => STDERR];
        $streams[$stream] = ['pipe', 0 === $stream ? 'r' : 'w'];
        $process = proc_open(['tar', '--directory', Media::ROOT, ...$arguments], $streams, $pipes);
        if (false === $process) {
            throw new Stop('tar could not be started', Stop::FAILED);
        }

        return [$process, $pipes[$stream]];
    }
}

runOrExit('uploads', static function () use ($argv): void {
    $uploads = new Uploads();
    match (array_slice($argv, 1)) {
        ['dump'] => $uploads->dump(),
        ['give'] => $uploads->dump(Handover::fromInput((string) fgets(STDIN))),
        ['take'] => $uploads->take(Handover::fromInput((string) fgets(STDIN))),
        ['stage'] => $uploads->stage((string) fgets(STDIN)),
        ['fill'] => $uploads->fill((string) fgets(STDIN)),
        ['begin'] => $uploads->begin(),
        ['empty'] => $uploads->empty(),
        ['place'] => $uploads->place(),
        default => throw new Stop('say dump, give, stage, take, empty, place, fill or begin', Stop::USAGE),
    };
});
