<?php

declare(strict_types=1);

require_once '/opt/mautic/seed_file.php';

/** Where a seed and its manifest go. */
interface SeedOutput
{
    /** @return resource */
    public function open();

    /**
     * The seed is whole.
     *
     * @param array<string, mixed> $manifest
     */
    public function finish(array $manifest): void;

    /** There will be no whole seed. */
    public function discard(): void;
}

/** A folder: the seed has its name once it is whole; the manifest comes last. */
final class SeedFolder implements SeedOutput
{
    public const NAME = 'seed.sql.gz.enc';
    private const MANIFEST = 'manifest.json';

    /** @var resource|null */
    private $file;

    public function __construct(private readonly string $folder)
    {
        // Without it a seed is what a run that was killed has left.
        if (file_exists("{$folder}/".self::MANIFEST)) {
            throw new Stop("MAUTIC_MASK_FOLDER: {$folder} has a seed already", Stop::WRONG_SETTING);
        }
    }

    public function open()
    {
        // What a run that was killed has left is written over; what another is writing is not.
        $file = @fopen($this->unfinished(), 'cb') ?: throw new Stop("{$this->unfinished()} cannot be made: ".(error_get_last()['message'] ?? ''), Stop::FAILED);
        if (!flock($file, LOCK_EX | LOCK_NB)) {
            throw new Stop("{$this->unfinished()} is being written by another run", Stop::FAILED);
        }
        ftruncate($file, 0);

        return $this->file = $file;
    }

    public function finish(array $manifest): void
    {
        if (!fsync($this->file) || !fclose($this->file) || !rename($this->unfinished(), "{$this->folder}/".self::NAME)) {
            throw new Stop("{$this->folder}/".self::NAME.' cannot be written', Stop::FAILED);
        }
        $this->file = null;
        $text = json_encode($manifest, JSON_THROW_ON_ERROR | JSON_PRETTY_PRINT | JSON_UNESCAPED_SLASHES)."\n";
        $unfinished = "{$this->folder}/.".self::MANIFEST;
        if (strlen($text) !== @file_put_contents($unfinished, $text) || !rename($unfinished, "{$this->folder}/".self::MANIFEST)) {
            throw new Stop("{$this->folder}/".self::MANIFEST.' cannot be written', Stop::FAILED);
        }
    }

    public function discard(): void
    {
        if (null !== $this->file) {
            fclose($this->file);
            unlink($this->unfinished());
            $this->file = null;
        }
    }

    private function unfinished(): string
    {
        return "{$this->folder}/.".self::NAME.'.unfinished';
    }
}

/** Standard output, for whoever keeps the seed elsewhere; the manifest is the last line on stderr. */
final class SeedStream implements SeedOutput
{
    public function open()
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
