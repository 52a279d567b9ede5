<?php

declare(strict_types=1);

/**
 * Ends when the database is as this image needs it: all its migrations recorded, and no migration at
 * work. Starts no Mautic, writes nothing, and asks less and less often.
 *
 * Environment: MAUTIC_DB_*; MAUTIC_MIGRATE_WAIT in seconds, for the database and the migration.
 *
 * Exit status: 0 the database is ready, 75 it was not in time, 77 the database refuses us or its
 * host is unknown, 143 stopped by a signal.
 */
require_once '/opt/mautic/waiting.php';
require_once '/opt/mautic/migrations.php';
require_once '/opt/mautic/database_lock.php';

runOrExit('wait', static function (): void {
    $parameters = mauticParameters();
    $seconds = (int) MauticEnvironment::get('MAUTIC_MIGRATE_WAIT', '120');
    $deadline = microtime(true) + $seconds;
    $waiting = new Waiting('wait');
    while (true) {
        // A connection for each look: none is held while the migration needs them.
        $database = $waiting->connectAs($parameters, $deadline);
        try {
            $missing = (new Migrations($database, (string) $parameters['db_table_prefix']))->missing();
            $isUsed = $database->prepare('SELECT IS_USED_LOCK(?)');
            $isUsed->execute([DatabaseLock::name($parameters['db_name'])]);
            $isBusy = null !== $isUsed->fetchColumn();
            if ([] === $missing && !$isBusy) {
                return;
            }
            // Whoever migrates goes on to the plugins: their tables belong to it.
            $reason = ['migration', match (true) {
                $isBusy => 'the migration runs',
                null === $missing => 'Mautic is not installed yet',
                default => sprintf('%d migrations have not run yet, the first is %s', count($missing), $missing[0]),
            }];
        } catch (PDOException $e) {
            // The server went away between two questions; connecting again will say more.
            $reason = [Obstacle::of($e), $e->getMessage()];
        }
        $database = $isUsed = null;
        if (microtime(true) >= $deadline) {
            throw new Stop("{$reason[1]} (after {$seconds} s)", Stop::IN_VAIN, $reason[0]);
        }
        $waiting->on(...$reason);
        $waiting->pause();
    }
});
