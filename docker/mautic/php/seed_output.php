<?php

declare(strict_types=1);

require_once '/opt/mautic/seed_file.php';

/** Where a seed and its manifest go. */
interface SeedOutput
{
    /** The parts of a seed, in the order in which they are written. */
    public const SQL = 'seed.sql.gz.enc';
    public const UPLOADS = 'uploads.tar.enc';

    /**
     * Begins a part; the one before is whole.
     *
     * @return resource
     */
    public function open(string $name);

    /**
     * The seed is whole.
     *
     * @param array<string, mixed> $manifest
     */
    public function finish(array $manifest): void;

    /** There will be no whole seed. */
    public function discard(): void;
}

/** A folder: each part has its name once all are whole; the manifest comes last. */
final class SeedFolder implements SeedOutput
{
    private const MANIFEST = 'manifest.json';

    /** @var array<string, resource> by their names */
    private array $files = [];

    public function __construct(private readonly string $folder)
    {
        // Without it a seed is what a run that was killed has left.
        if (file_exists("{$folder}/".self::MANIFEST)) {
            throw new Stop("MAUTIC_MASK_FOLDER: {$folder} has a seed already", Stop::WRONG_SETTING);
        }
    }

    public function open(string $name)
    {
        // What a run that was killed has left is written over; what another is writing is not.
        $file = @fopen($this->unfinished($name), 'cb') ?: throw new Stop("{$this->unfinished($name)} cannot be made: ".(error_get_last()['message'] ?? ''), Stop::FAILED);
        if (!flock($file, LOCK_EX | LOCK_NB)) {
            throw new Stop("{$this->unfinished($name)} is being written by another run", Stop::FAILED);
        }
        ftruncate($file, 0);

        return $this->files[$name] = $file;
    }

    public function finish(array $manifest): void
    {
        foreach ($this->files as $name => $file) {
            if (!fsync($file) || !fclose($file) || !rename($this->unfinished($name), "{$this->folder}/{$name}")) {
                throw new Stop("{$this->folder}/{$name} cannot be written", Stop::FAILED);
            }
        }
        $this->files = [];
        $text = json_encode($manifest, JSON_THROW_ON_ERROR | JSON_PRETTY_PRINT | JSON_UNESCAPED_SLASHES)."\n";
        $unfinished = "{$this->folder}/.".self::MANIFEST;
        if (strlen($text) !== @file_put_contents($unfinished, $text) || !rename($unfinished, "{$this->folder}/".self::MANIFEST)) {
            throw new Stop("{$this->folder}/".self::MANIFEST.' cannot be written', Stop::FAILED);
        }
    }

    public function discard(): void
    {
        foreach ($this->files as $name => $file) {
            fclose($file);
            unlink($this->unfinished($name));
        }
        $this->files = [];
    }

    private function unfinished(string $name): string
    {
        return "{$this->folder}/.{$name}.unfinished";
    }
}

/**
 * Standard output, for whoever keeps the seed elsewhere: one part behind the other, the manifest, which has
 * their sizes, is the last line on stderr.
 */
final class SeedStream implements SeedOutput
{
    public function open(string $name)
    {
        return STDOUT;
    }

    public function finish(array $manifest): void
    {
        fwrite(STDERR, json_encode($manifest, JSON_THROW_ON_ERROR | JSON_UNESCAPED_SLASHES)."\n");
    }

    public function discard(): void
    {
    }
}
