<?php

declare(strict_types=1);

require_once '/opt/mautic/media.php';

/**
 * Gives a Mautic other uploads: they are staged beside those that are there, and moved into their place.
 *
 *   $swap = new UploadsSwap();
 *   $swap->begin();    empty folders beside the others, to be filled by whoever calls
 *   $swap->finish();   what is in them takes the place of what is there, which goes
 *
 * Moving takes as long as renaming the topmost files and folders. Whoever is killed meanwhile runs it again.
 */
final class UploadsSwap
{
    /** Makes empty folders; what a run that was killed has left there goes. */
    public function begin(): void
    {
        $this->discard();
        foreach (Media::FOLDERS as $folder) {
            if (!@mkdir(Media::path($folder, Media::NEW))) {
                throw new Stop(Media::path($folder, Media::NEW).' cannot be made; nothing was changed', Stop::FAILED);
            }
        }
    }

    /** @throws Stop when a file cannot be moved, or nothing was staged */
    public function finish(): void
    {
        $this->require();
        array_map($this->swap(...), Media::FOLDERS);
    }

    /** @throws Stop when nothing was staged, or what cannot take its place */
    public function require(): void
    {
        foreach (Media::FOLDERS as $folder) {
            if (!is_dir(Media::path($folder, Media::NEW))) {
                throw new Stop('no uploads are staged; nothing was changed', Stop::FAILED);
            }
            if (file_exists(Media::path($folder, Media::NEW.'/'.Media::SEED)) && Media::isShared($folder)) {
                throw new Stop("they have {$folder}/".Media::SEED.', where this branch shares the uploads of its seed: only a branch that was begun with seeds.uploads: copy takes them; nothing was changed', Stop::FAILED);
            }
        }
    }

    /** Removes what is staged. */
    public function discard(): void
    {
        foreach (Media::FOLDERS as $folder) {
            self::remove(Media::path($folder, Media::NEW));
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
            // Where a seed's files were mounted an empty folder is left, which is root's and cannot be moved.
            if (Media::SEED === $name && @rmdir(Media::path($from, $name))) {
                continue;
            }
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
