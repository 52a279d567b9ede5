<?php

declare(strict_types=1);

/**
 * Rehearses an upgrade in a branch's environment whose data may be lost.
 *
 *   rehearse.php migrations   runs each missing migration alone, and measures it; then the database is migrated
 *   rehearse.php plugins      has Mautic look for its plugins
 *   rehearse.php crons        runs each scheduled command once
 *   rehearse.php pages        logs in to php-fpm beside it, and opens Mautic's lists; the line on stdin is JSON:
 *                             {"username": "…", "password": "…"}
 *
 * stdout has a line of JSON for each result. What fails there is a result, and no failure of this program.
 *
 * Environment: MAUTIC_DB_*, MAUTIC_SITE_URL, FPM_LISTEN, MAUTIC_CRON_TIMEOUT; MAUTIC_CRON_* as for cron;
 * MAUTIC_DB_WAIT and MAUTIC_MIGRATE_LOCK_WAIT in seconds.
 *
 * Exit status: 0 done, 1 a step failed, 64 used wrongly, 75 no database in time or another migration holds
 * the lock, 77 the database refuses us, 78 a setting is wrong, 143 stopped by a signal.
 */
require_once '/opt/mautic/rehearsal.php';

runOrExit('rehearse', static function () use ($argv): void {
    $rehearsal = new Rehearsal(mauticParameters(), new Waiting('rehearse'));
    match ($argv[1] ?? '') {
        'migrations' => $rehearsal->migrations(),
        'plugins' => $rehearsal->plugins(),
        'crons' => $rehearsal->crons(),
        'pages' => (static function () use ($rehearsal): void {
            $given = json_decode((string) fgets(STDIN), true, 2);
            if (!is_string($given['username'] ?? null) || !is_string($given['password'] ?? null)) {
                throw new Stop('stdin must be a line of JSON: username, password', Stop::WRONG_SETTING);
            }
            $rehearsal->pages($given['username'], $given['password']);
        })(),
        default => throw new Stop('say migrations, plugins, crons or pages', Stop::USAGE),
    };
});
