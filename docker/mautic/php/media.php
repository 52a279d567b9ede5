<?php

declare(strict_types=1);

require_once '/opt/mautic/waiting.php';

/** The folders that uploads to a Mautic lie in. */
final class Media
{
    public const ROOT = '/var/www/html/docroot/media';
    /** Each is a volume of its own: nothing can be moved from one to another. */
    public const FOLDERS = ['files', 'images', 'dashboards'];
    public const NEW = '.mautic-new';
    public const OLD = '.mautic-old';
    /** Notes that all of a seed's files are here that branches share (uploads.php fill). */
    public const WHOLE = '.mautic-whole';
    /** What may lie in a volume and is nobody's upload. */
    public const OTHERS = [self::NEW, self::OLD, self::WHOLE, 'lost+found'];
    /** Where a seed's files are mounted, read-only, in the folders of the branches that share them. */
    public const SEED = 'seed';

    public static function path(string $folder, string $name = ''): string
    {
        return self::ROOT."/{$folder}".('' === $name ? '' : "/{$name}");
    }

    /**
     * Reads what is in a folder; not what is mounted in it.
     *
     * @return list<string> names, sorted
     *
     * @throws Stop when it cannot be read
     */
    public static function entries(string $folder): array
    {
        $entries = @scandir(self::path($folder)) ?: throw new Stop(self::path($folder).' cannot be read', Stop::FAILED);

        return array_values(array_diff($entries, ['.', '..', ...self::OTHERS], self::isShared($folder) ? [self::SEED] : []));
    }

    /** Says where a copy of a seed's files would have one that is mounted; any other stays. */
    public static function place(string $name): string
    {
        [$folder, $seed, $rest] = [...explode('/', $name, 3), '', ''];

        return self::SEED === $seed && self::isShared($folder) ? "{$folder}/{$rest}" : $name;
    }

    /** Says whether a seed's files are mounted in a folder. */
    public static function isShared(string $folder): bool
    {
        // With Compose they are on the same device as the folder.
        $mounts = array_map(static fn (string $line): string => explode(' ', $line)[4], file('/proc/self/mountinfo') ?: []);

        return in_array(realpath(self::path($folder, self::SEED)), $mounts, true);
    }
}
