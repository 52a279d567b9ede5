<?php

declare(strict_types=1);

/**
 * Writes what was uploaded to a Mautic to stdout, or puts it in the place of what is there.
 *
 *   uploads.php dump                  a tar of media/files, images and dashboards; then stderr has
 *                                     "uploads: whole " and JSON: bytes and sha256 of it
 *   uploads.php load BYTES SHA256     reads such a tar from stdin, and no more than that
 *   uploads.php reset                 takes everything away
 *
 * It is unpacked beside what is there and moved into its place once all of it has come and is right: cut
 * off before that, nothing is changed. Whoever is killed while it is moved runs it again.
 *
 * Exit status: 0 done, 1 the tar is damaged or cut off, or a file cannot be written, 64 used wrongly, 143
 * stopped by a signal.
 */
require_once '/opt/mautic/waiting.php';

final class Uploads
{
    private const MEDIA = '/var/www/html/docroot/media';
    /** Each is a volume of its own: nothing can be moved from one to another. */
    private const FOLDERS = ['files', 'images', 'dashboards'];
    private const NEW = '.mautic-new';
    private const OLD = '.mautic-old';
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
        $options = ['--create', '--exclude=./*/'.self::NEW, '--exclude=./*/'.self::OLD, '--exclude=lost+found'];
        [$tar, $pipe] = $this->tar([...$options, '--file=-', ...array_map(static fn (string $each): string => "./{$each}", self::FOLDERS)], 1);
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
        try {
            $this->unpack($size, $sha256);
        } catch (Stop $e) {
            $this->discard();
            throw $e;
        }
        array_map($this->swap(...), self::FOLDERS);
        $this->waiting->say('the files are in place');
    }

    public function reset(): void
    {
        $this->begin();
        array_map($this->swap(...), self::FOLDERS);
        $this->waiting->say('the uploads are gone');
    }

    private function begin(): void
    {
        $this->discard();
        foreach (self::FOLDERS as $folder) {
            if (!@mkdir(self::path($folder, self::NEW))) {
                throw new Stop(self::path($folder, self::NEW).' cannot be made; nothing was changed', Stop::FAILED);
            }
        }
    }

    private function unpack(int $size, string $sha256): void
    {
        $this->begin();
        $where = 'flags=rh;s,^\./\([^/]*\),./\1/'.self::NEW.',';
        [$tar, $pipe] = $this->tar(['--extract', '--file=-', "--transform={$where}", '--no-same-owner'], 0);
        try {
            $this->receive($pipe, $size, $sha256);
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
        foreach (self::FOLDERS as $folder) {
            self::remove(self::path($folder, self::NEW));
        }
    }

    /** @param resource $pipe */
    private function receive($pipe, int $size, string $sha256): void
    {
        $hash = hash_init('sha256');
        for ($left = $size; $left > 0; $left -= strlen($bytes)) {
            $this->waiting->breakOnSignal();
            $bytes = (string) fread(STDIN, min($left, self::CHUNK_BYTES));
            if ('' === $bytes && feof(STDIN)) {
                throw new Stop("{$left} bytes did not come; nothing was changed", Stop::FAILED);
            }
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
        $old = self::path($folder, self::OLD);
        if (!is_dir($old) && !@mkdir($old)) {
            throw new Stop("{$old} cannot be made", Stop::FAILED);
        }
        $this->move(self::path($folder), $old);
        $this->move(self::path($folder, self::NEW), self::path($folder));
        self::remove($old);
        self::remove(self::path($folder, self::NEW));
    }

    private function move(string $from, string $to): void
    {
        foreach (array_diff(scandir($from), ['.', '..', self::NEW, self::OLD, 'lost+found']) as $name) {
            // A run that was killed may have moved one of this name before.
            if (file_exists("{$to}/{$name}")) {
                self::remove("{$to}/{$name}");
            }
            if (!@rename("{$from}/{$name}", "{$to}/{$name}")) {
                throw new Stop("{$from}/{$name} cannot be moved; run it again", Stop::FAILED);
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
        $process = proc_open(['tar', '--directory', self::MEDIA, ...$arguments], $streams, $pipes);
        if (false === $process) {
            throw new Stop('tar could not be started', Stop::FAILED);
        }

        return [$process, $pipes[$stream]];
    }

    private static function path(string $folder, string $name = ''): string
    {
        return self::MEDIA."/{$folder}".('' === $name ? '' : "/{$name}");
    }

    private static function remove(string $path): void
    {
        if (is_link($path) || is_file($path)) {
            unlink($path);
        } elseif (is_dir($path)) {
            foreach (array_diff(scandir($path), ['.', '..']) as $name) {
                self::remove("{$path}/{$name}");
            }
            rmdir($path);
        }
    }
}

runOrExit('uploads', static function () use ($argv): void {
    $given = array_slice($argv, 1);
    match (true) {
        ['dump'] === $given => (new Uploads())->dump(),
        ['reset'] === $given => (new Uploads())->reset(),
        3 === count($given) && 'load' === $given[0] && preg_match('/\A\d{1,18}\z/', $given[1]) && preg_match('/\A[0-9a-f]{64}\z/', $given[2]) => (new Uploads())->load((int) $given[1], $given[2]),
        default => throw new Stop('say dump, load BYTES SHA256, or reset', Stop::USAGE),
    };
});
