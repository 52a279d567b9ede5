<?php

declare(strict_types=1);

/**
 * Takes, lists and brings back points in time of a branch's database.
 *
 *   snapshot.php snapshot    takes one; what for is said by MAUTIC_SNAPSHOT_REASON
 *   snapshot.php snapshots   writes a line of JSON for each to stdout, the oldest first
 *   snapshot.php restore     brings one back: MAUTIC_SNAPSHOT, or the newest; `restore migrate` migrates it before
 *   snapshot.php undo        the same, and uses the snapshot up: at once, whatever its size
 *   snapshot.php migrations  writes a line of JSON to stdout: Mautic's version, the migrations that this image has,
 *                            and those that the database has seen
 *   snapshot.php connections writes a line of JSON to stdout: how many connections the server takes, and how many
 *                            there are
 *
 * Environment: MAUTIC_DB_* of the branch; MAUTIC_SNAPSHOTS, how many are kept; MAUTIC_RELEASE, the release that
 * runs; MAUTIC_DB_WAIT and MAUTIC_MIGRATE_LOCK_WAIT in seconds.
 *
 * Exit status: 0 done, 1 a step failed, 64 used wrongly, 75 no database in time, or its tables stay in use,
 * 77 there is no such snapshot, or the database refuses us, 78 a setting is missing or wrong, 143 stopped by a
 * signal.
 */
require_once '/opt/mautic/database_lock.php';
require_once '/opt/mautic/replacement.php';
require_once '/opt/mautic/snapshots.php';

runOrExit('snapshot', static function () use ($argv): void {
    $parameters = mauticParameters();
    $waiting = new Waiting('snapshot');
    $server = $waiting->connectAs($parameters, microtime(true) + (int) MauticEnvironment::get('MAUTIC_DB_WAIT', '60'));
    $snapshots = new Snapshots($parameters, $server, $waiting);
    $verb = $argv[1] ?? '';
    if ('migrations' === $verb) {
        $names = static fn (array $classes): array => array_map(Migrations::shortName(...), $classes);
        $recorded = (new Migrations($server, (string) $parameters['db_table_prefix']))->recorded();
        fwrite(STDOUT, json_encode(['mautic' => (string) Migrations::mautic(), 'known' => $names(Migrations::known()), 'recorded' => $names($recorded)], JSON_THROW_ON_ERROR)."\n");

        return;
    }
    if ('connections' === $verb) {
        $most = (int) $server->query('SELECT @@GLOBAL.max_connections')->fetchColumn();
        $used = (int) $server->query("SHOW GLOBAL STATUS LIKE 'Threads_connected'")->fetchColumn(1);
        fwrite(STDOUT, json_encode(['most' => $most, 'used' => $used], JSON_THROW_ON_ERROR)."\n");

        return;
    }
    if ('snapshots' === $verb) {
        foreach ($snapshots->all() as $each) {
            fwrite(STDOUT, json_encode($each, JSON_THROW_ON_ERROR | JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE)."\n");
        }

        return;
    }
    $replacement = Replacement::of(array_slice($argv, 2), $waiting);
    $waiting->heed();
    DatabaseLock::take($server, $parameters['db_name'], $waiting, (int) MauticEnvironment::get('MAUTIC_MIGRATE_LOCK_WAIT', '900'));
    match ($verb) {
        'snapshot' => $snapshots->take(MauticEnvironment::get('MAUTIC_SNAPSHOT_REASON', 'by hand'), max(1, (int) MauticEnvironment::get('MAUTIC_SNAPSHOTS', '2'))),
        'restore', 'undo' => $snapshots->restore((string) MauticEnvironment::get('MAUTIC_SNAPSHOT'), 'restore' === $verb, $replacement),
        default => throw new Stop('say snapshot, snapshots, restore, undo, migrations or connections', Stop::USAGE),
    };
});
