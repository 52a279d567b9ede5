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
    /** What may lie in a volume and is nobody's upload. */
    public const OTHERS = [self::NEW, self::OLD, 'lost+found'];

    public static function path(string $folder, string $name = ''): string
    {
        return self::ROOT."/{$folder}".('' === $name ? '' : "/{$name}");
    }

    /**
     * Reads what is in a folder.
     *
     * @return list<string> names, sorted
     *
     * @throws Stop when it cannot be read
     */
    public static function entries(string $folder): array
    {
        return array_values(array_diff(@scandir(self::path($folder)) ?: throw new Stop(self::path($folder).' cannot be read', Stop::FAILED), ['.', '..', ...self::OTHERS]));
    }
}
