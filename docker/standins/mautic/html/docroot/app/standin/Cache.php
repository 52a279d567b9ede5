<?php

declare(strict_types=1);

namespace Standin;

/**
 * What is worked out once and kept in var/cache/prod, as Mautic keeps its compiled container.
 * Like Doctrine it wants to know the database's version, from the constant MAUTIC_DB_SERVER_VERSION or
 * from the database: on a cold cache nothing works while the database is down.
 */
final class Cache
{
    private readonly string $folder;

    public function __construct(private readonly Parameters $parameters)
    {
        $this->folder = $parameters->get('cache_path').'/prod';
    }

    /** @return array{version: string, assets: string, database: string, plugins: array{routes: array<string, string>, services: list<string>}} */
    public function read(): array
    {
        $file = $this->folder.'/standin.php';

        return is_file($file) ? require $file : $this->write();
    }

    /** @return array{version: string, assets: string, database: string, plugins: array{routes: array<string, string>, services: list<string>}} */
    public function write(): array
    {
        $release = json_decode((string) file_get_contents(PROJECT.'/docroot/app/release_metadata.json'), true, 8, JSON_THROW_ON_ERROR);
        $assets = hash_init('sha256');
        foreach (glob(PROJECT.'/docroot/media/{css,js}/*', GLOB_BRACE) as $file) {
            hash_update_file($assets, $file);
        }
        $compiled = [
            'version'  => $release['version'],
            'assets'   => substr(hash_final($assets), 0, 8),
            'database' => defined('MAUTIC_DB_SERVER_VERSION')
                ? constant('MAUTIC_DB_SERVER_VERSION')
                : (string) (new Database($this->parameters))->value('SELECT VERSION()'),
            'plugins'  => Plugins::compile(),
        ];
        if (!is_dir($this->folder)) {
            mkdir($this->folder, 0o755, true);
        }
        // Renamed into place: other processes read it at any time.
        $scratch = tempnam($this->folder, 'new');
        file_put_contents($scratch, '<?php return '.var_export($compiled, true).";\n");
        chmod($scratch, 0o644);
        rename($scratch, $this->folder.'/standin.php');

        return $compiled;
    }

    /** Like Mautic's it is compiled first: what cannot be compiled leaves the one before. */
    public function clear(): void
    {
        $this->write();
        foreach (array_diff(glob($this->folder.'/*'), [$this->folder.'/standin.php']) as $file) {
            unlink($file);
        }
    }
}
