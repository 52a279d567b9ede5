<?php

declare(strict_types=1);

/**
 * Puts a copy of a seed, from which nobody can be reached, in the place of a branch's data.
 *
 * Environment: MAUTIC_SEED, a database on the same server that the branch's user may read; MAUTIC_SEED_UPLOADS,
 * not empty where the branch shares the seed's uploads; MAUTIC_DB_*,
 * MAUTIC_SITE_URL, MAUTIC_ADMIN_{USERNAME,EMAIL,PASSWORD} of the branch; MAUTIC_DB_WAIT and
 * MAUTIC_MIGRATE_LOCK_WAIT in seconds. The migration has to follow: the seed may be of an older Mautic.
 *
 * Exit status: 0 done, 1 a step failed, 75 no database in time or somebody else changes it, 77 there is no
 * such seed, or the database refuses us, 78 a setting is missing, 143 stopped by a signal.
 */
require_once '/opt/mautic/database_lock.php';
require_once '/opt/mautic/seed_clone.php';

runOrExit('clone', static function (): void {
    $seed = MauticEnvironment::get('MAUTIC_SEED') ?? throw new Stop('MAUTIC_SEED is not set', Stop::WRONG_SETTING);
    $parameters = mauticParameters();
    $waiting = new Waiting('clone');
    $waiting->heed();
    $server = $waiting->connectAs($parameters, microtime(true) + (int) MauticEnvironment::get('MAUTIC_DB_WAIT', '60'));
    DatabaseLock::take($server, $parameters['db_name'], $waiting, (int) MauticEnvironment::get('MAUTIC_MIGRATE_LOCK_WAIT', '900'));
    (new SeedClone($parameters, $server, $waiting))->run($seed, shared: null !== MauticEnvironment::get('MAUTIC_SEED_UPLOADS'));
});
