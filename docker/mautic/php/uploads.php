<?php

declare(strict_types=1);

/**
 * Writes what was uploaded to a Mautic to stdout, or puts it in the place of what is there.
 *
 *   uploads.php dump                  a tar of media/files, images and dashboards; then stderr has
 *                                     "uploads: whole " and JSON: bytes and sha256 of it
 *   uploads.php load BYTES SHA256     reads such a tar from stdin, and no more than that
 *   uploads.php sow                   the same from a seed's uploads (seed_uploads.php): stdin is a line of
 *                                     JSON, {"key": "…", "bytes": 0, "sha256": "…"}, then the sealed file,
 *                                     of so many bytes; the checksum is the tar's
 *   uploads.php reset                 takes everything away
 *
 * It is unpacked beside what is there and moved into its place once all of it has come and is right: cut
 * off before that, nothing is changed. Whoever is killed while it is moved runs it again.
 *
 * Exit status: 0 done, 1 the tar is damaged or cut off, or a file cannot be written, 64 used wrongly, 78 the
 * line of JSON is wrong, 143 stopped by a signal.
 */
require_once '/opt/mautic/mask_settings.php';
require_once '/opt/mautic/media.php';
require_once '/opt/mautic/seed_file.php';

final class Uploads
{
    private const CHUNK_BYTES = 65_536;
    /** GNU tar: some files changed while they were read. */
    private const CHANGED = 1;

    private readonly Waiting $waiting;

    public function __construct()
    {
        $this->waiting = new Waiting('uploads');
    }

    public function dump(): void
    {
        $options = ['--create', '--exclude=./*/'.Media::NEW, '--exclude=./*/'.Media::OLD, '--exclude=lost+found'];
        [$tar, $pipe] = $this->tar([...$options, '--file=-', ...array_map(static fn (string $each): string => "./{$each}", Media::FOLDERS)], 1);
        $hash = hash_init('sha256');
        $size = 0;
        while (!feof($pipe)) {
            $this->waiting->breakOnSignal();
            $bytes = (string) fread($pipe, self::CHUNK_BYTES);
            hash_update($hash, $bytes);
            $size += strlen($bytes);
            if (strlen($bytes) !== @fwrite(STDOUT, $bytes)) {
                throw new Stop('nobody reads any more', Stop::FAILED);
            }
        }
        fclose($pipe);
        $status = proc_close($tar);
        if (0 !== $status && self::CHANGED !== $status) {
            throw new Stop("tar ended with status {$status}", Stop::FAILED);
        }
        $this->waiting->say('whole '.json_encode(['bytes' => $size, 'sha256' => hash_final($hash)], JSON_THROW_ON_ERROR));
    }

    public function load(int $size, string $sha256): void
    {
        $this->replace(self::sent($size), $sha256);
    }

    public function sow(#[SensitiveParameter] string $line): void
    {
        $given = json_decode($line, true, 2);
        if (!is_array($given) || !is_int($given['bytes'] ?? null) || !is_string($given['sha256'] ?? null)) {
            throw new Stop('stdin must begin with a line of JSON: key, bytes, sha256', Stop::WRONG_SETTING);
        }
        $key = MaskSettings::key((string) ($given['key'] ?? ''), 'key');
        $this->replace(SeedFile::read(STDIN, $key, $given['bytes']), $given['sha256'], isPlain: true);
    }

    public function reset(): void
    {
        $this->begin();
        array_map($this->swap(...), Media::FOLDERS);
        $this->waiting->say('the uploads are gone');
    }

    /**
     * @param iterable<string> $parts   of a tar
     * @param bool             $isPlain whether it must hold files and folders alone
     */
    private function replace(iterable $parts, string $sha256, bool $isPlain = false): void
    {
        try {
            $this->unpack($parts, $sha256);
            foreach (Media::FOLDERS as $folder) {
                if ($isPlain && !self::isPlain("{$folder}/".Media::NEW)) {
                    throw new Stop("{$folder} would get what is neither file nor folder; nothing was changed", Stop::FAILED);
                }
            }
        } catch (Stop $e) {
            $this->discard();
            throw $e;
        }
        array_map($this->swap(...), Media::FOLDERS);
        $this->waiting->say('the files are in place');
    }

    private function begin(): void
    {
        $this->discard();
        foreach (Media::FOLDERS as $folder) {
            if (!@mkdir(Media::path($folder, Media::NEW))) {
                throw new Stop(Media::path($folder, Media::NEW).' cannot be made; nothing was changed', Stop::FAILED);
            }
        }
    }

    /** @param iterable<string> $parts of a tar */
    private function unpack(iterable $parts, string $sha256): void
    {
        $this->begin();
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

    private function discard(): void
    {
        foreach (Media::FOLDERS as $folder) {
            self::remove(Media::path($folder, Media::NEW));
        }
    }

    /** @return Generator<string> what is sent, and no more */
    private static function sent(int $size): Generator
    {
        for ($left = $size; $left > 0; $left -= strlen($bytes)) {
            $bytes = (string) fread(STDIN, min($left, self::CHUNK_BYTES));
            if ('' === $bytes && feof(STDIN)) {
                throw new Stop("{$left} bytes did not come; nothing was changed", Stop::FAILED);
            }
            yield $bytes;
        }
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
     * @param resource         $pipe
     * @param iterable<string> $parts
     */
    private function receive($pipe, iterable $parts, string $sha256): void
    {
        $hash = hash_init('sha256');
        foreach ($parts as $bytes) {
            $this->waiting->breakOnSignal();
            hash_update($hash, $bytes);
            if (strlen($bytes) !== @fwrite($pipe, $bytes)) {
                throw new Stop('this is no tar of uploads, or there is no room for it; nothing was changed', Stop::FAILED);
            }
        }
        if (hash_final($hash) !== $sha256) {
            throw new Stop('the files are not those that were sent; nothing was changed', Stop::FAILED);
        }
    }

    private function swap(string $folder): void
    {
        $old = Media::path($folder, Media::OLD);
        if (!is_dir($old) && !@mkdir($old)) {
            throw new Stop("{$old} cannot be made", Stop::FAILED);
        }
        $this->move($folder, "{$folder}/".Media::OLD);
        $this->move("{$folder}/".Media::NEW, $folder);
        self::remove($old);
        self::remove(Media::path($folder, Media::NEW));
    }

    private function move(string $from, string $to): void
    {
        foreach (Media::entries($from) as $name) {
            [$source, $target] = [Media::path($from, $name), Media::path($to, $name)];
            // A run that was killed may have moved one of this name before.
            if (file_exists($target)) {
                self::remove($target);
            }
            if (!@rename($source, $target)) {
                throw new Stop("{$source} cannot be moved; run it again", Stop::FAILED);
            }
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

    private static function remove(string $path): void
    {
        if (is_dir($path) && !is_link($path)) {
            foreach (array_diff(scandir($path), ['.', '..']) as $name) {
                self::remove("{$path}/{$name}");
            }
            rmdir($path);
        } elseif (is_link($path) || file_exists($path)) {
            unlink($path);
        }
    }
}

runOrExit('uploads', static function () use ($argv): void {
    $given = array_slice($argv, 1);
    match (true) {
        ['dump'] === $given => (new Uploads())->dump(),
        ['reset'] === $given => (new Uploads())->reset(),
        ['sow'] === $given => (new Uploads())->sow((string) fgets(STDIN)),
        3 === count($given) && 'load' === $given[0] && preg_match('/\A\d{1,18}\z/', $given[1]) && preg_match('/\A[0-9a-f]{64}\z/', $given[2]) => (new Uploads())->load((int) $given[1], $given[2]),
        default => throw new Stop('say dump, load BYTES SHA256, sow, or reset', Stop::USAGE),
    };
});
