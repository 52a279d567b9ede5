<?php

declare(strict_types=1);

/**
 * Puts a seed from stdin in the place of a branch's data, with no right but those of the branch's own user.
 *
 *   sow.php sow [WORD…]   what else changes in the same step: replacement.php
 *
 * stdin: a line of JSON, then the seed. The line says its key and size, and the administrator that the branch
 * gets: {"key": "…", "bytes": 0, "admin": {"username": "…", "email": "…", "password": "…"}}; and "shared": true,
 * where the branch shares the seed's uploads.
 *
 * The seed is decrypted into a database beside the branch's own (NAME__s), and from there on it is a clone like
 * any other (seed_clone.php): defused, and swapped in one step. A seed that is cut off, changed or of another key
 * changes nothing. Without the word `migrate` the migration has to follow.
 *
 * Environment: MAUTIC_DB_*, MAUTIC_SITE_URL; MAUTIC_DB_WAIT and MAUTIC_MIGRATE_LOCK_WAIT in seconds.
 *
 * Exit status: as load.php's.
 */
require_once '/opt/mautic/database_lock.php';
require_once '/opt/mautic/loader.php';
require_once '/opt/mautic/mask_settings.php';
require_once '/opt/mautic/replacement.php';
require_once '/opt/mautic/seed_clone.php';
require_once '/opt/mautic/seed_file.php';

const SEED = '__s';

/** Runs the loader by a connection of its own, whose session it changes. */
function loadSeed(PDO $server, string $database, Waiting $waiting, #[SensitiveParameter] string $key, int $bytes): void
{
    $server->exec("USE `{$database}`");
    (new Loader($server, $waiting))->run(SeedFile::lines(STDIN, $key, $bytes));
}

runOrExit('sow', static function () use ($argv): void {
    $given = json_decode((string) fgets(STDIN), true, 4);
    if (!is_array($given) || !is_int($given['bytes'] ?? null) || !is_array($given['admin'] ?? null)) {
        throw new Stop('stdin must begin with a line of JSON: key, bytes, admin', Stop::WRONG_SETTING);
    }
    $key = MaskSettings::key((string) ($given['key'] ?? ''), 'key');
    foreach (['username', 'email', 'password'] as $each) {
        putenv('MAUTIC_ADMIN_'.strtoupper($each).'='.($given['admin'][$each] ?? ''));
    }
    $parameters = mauticParameters();
    $waiting = new Waiting('sow');
    $replacement = Replacement::of(array_slice($argv, 2), $waiting);
    $connect = static fn (): PDO => $waiting->connectAs($parameters, microtime(true) + (int) MauticEnvironment::get('MAUTIC_DB_WAIT', '60'));
    $server = $connect();
    DatabaseLock::take($server, $parameters['db_name'], $waiting, (int) MauticEnvironment::get('MAUTIC_MIGRATE_LOCK_WAIT', '900'));
    $swap = new Swap($server, $parameters['db_name'], $waiting);
    try {
        $seed = $swap->remake(SEED);
        loadSeed($connect(), $seed, $waiting, $key, $given['bytes']);
        $waiting->heed();
        (new SeedClone($parameters, $server, $waiting))->run($seed, $replacement, true === ($given['shared'] ?? false));
    } catch (Stop|PDOException $e) {
        $replacement->discard();
        throw $e;
    } finally {
        $swap->drop(SEED);
    }
});
