<?php

declare(strict_types=1);

require_once '/opt/mautic/media.php';
require_once '/opt/mautic/seed_output.php';
require_once '/opt/mautic/tar_writer.php';

/**
 * What goes along with a seed of what was uploaded: a tar of plain files, sealed as the seed is.
 *
 * All of media/dashboards and media/images, but for contacts' avatars, and those of media/files that rows of
 * assets name. Never what people have sent by forms, exports, or what waits to be imported; no link, no
 * device, nothing outside of these folders. Their content is not masked: nobody can read a picture for it.
 * What the branch shares of a seed is among it, in the places of a copy.
 */
final class SeedUploads
{
    private const NEVER = ['files/form', 'files/temp', 'images/lead_avatars'];
    private const REPORT_SECONDS = 15;
    /** Of what lstat() says. */
    private const TYPE = 0o170000;
    private const PLAIN_FILE = 0o100000;

    private int $leftOut = 0;

    /** @param list<string> $assets what rows of assets name, below media/files */
    public function __construct(private readonly array $assets, private readonly Waiting $waiting)
    {
    }

    /**
     * @return array<string, mixed>|null what the manifest says of it; null when there is nothing, and no file
     */
    public function write(SeedOutput $output, #[SensitiveParameter] string $key): ?array
    {
        $files = $this->files();
        if (!$files->valid()) {
            $this->tell('no uploads go along');

            return null;
        }
        $seed = new SeedFile($output->open(SeedOutput::UPLOADS), $key);
        $tar = new TarWriter(function (string $bytes) use ($seed): void {
            $this->waiting->breakOnSignal();
            $seed->write($bytes);
        });
        $count = $bytes = 0;
        $reported = microtime(true);
        foreach ($files as $name => $file) {
            $bytes += $tar->add("./{$name}", $file);
            fclose($file);
            ++$count;
            if (microtime(true) - $reported >= self::REPORT_SECONDS) {
                $reported = microtime(true);
                $this->waiting->say(sprintf('%d uploads so far, %d MB', $count, $bytes / 1e6));
            }
        }
        $tar->finish();
        $made = $seed->finish();
        $this->tell("{$count} uploads, {$bytes} bytes");

        return ['files' => $count, 'content_bytes' => $bytes, 'tar_sha256' => $made['sha256'], 'file_sha256' => $made['file_sha256'], 'bytes' => $made['bytes']];
    }

    private function tell(string $what): void
    {
        $this->waiting->say($what.(0 === $this->leftOut ? '' : "; left out, for it is no plain file, is not there or cannot be read: {$this->leftOut}"));
    }

    /** @return Generator<string, resource> each file, open, by its name below media */
    private function files(): Generator
    {
        yield from $this->below('dashboards');
        yield from $this->below('images');
        if (Media::isShared('images')) {
            yield from $this->below('images/'.Media::SEED);
        }
        $assets = array_unique($this->assets);
        sort($assets);
        foreach ($assets as $path) {
            yield from $this->one(self::named($path));
        }
    }

    /** @return Generator<string, resource> */
    private function below(string $folder): Generator
    {
        foreach (Media::entries($folder) as $entry) {
            $name = "{$folder}/{$entry}";
            if (in_array($name, self::NEVER, true)) {
                continue;
            }
            if (is_dir(Media::path($name)) && !is_link(Media::path($name))) {
                yield from $this->below($name);
            } else {
                yield from $this->one($name);
            }
        }
    }

    /** @return string|null an asset's file; null when its path leads through a link, away, or to what never goes along */
    private static function named(string $path): ?string
    {
        $name = 'files';
        foreach (explode('/', $path) as $part) {
            $name .= "/{$part}";
            if (in_array($part, ['', '.', '..', ...Media::OTHERS], true) || in_array($name, self::NEVER, true) || is_link(Media::path($name))) {
                return null;
            }
        }

        return $name;
    }

    /** @return Generator<string, resource> the file, if it is one that may go along */
    private function one(?string $name): Generator
    {
        $place = Media::place((string) $name);
        if ($place !== (string) $name && file_exists(Media::path($place))) {
            return; // The branch has one of its own in its place.
        }
        $file = null === $name ? null : self::open(Media::path($name));
        if (null === $file) {
            ++$this->leftOut;

            return;
        }
        yield $place => $file;
    }

    /** @return resource|null */
    private static function open(string $path)
    {
        $seen = @lstat($path);
        // A pipe would not even be opened before somebody writes to it.
        if (false === $seen || self::PLAIN_FILE !== ($seen['mode'] & self::TYPE)) {
            return null;
        }
        $file = @fopen($path, 'rb');
        $opened = false === $file ? false : fstat($file);
        // Between the two looks a link may have taken its place.
        if (false === $opened || [$opened['dev'], $opened['ino']] !== [$seen['dev'], $seen['ino']]) {
            return null;
        }

        return $file;
    }
}
