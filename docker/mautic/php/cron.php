<?php

declare(strict_types=1);

/**
 * Runs Mautic's scheduled commands, for Compose; a cluster has CronJobs.
 *
 * The jobs are those of cron.json, changed by config/cron.json and then by MAUTIC_CRON_JOBS: a name
 * with a text is a new schedule, with null it is off, with an object it is a new or replaced job.
 * Every minute, that of the start included, the due jobs join a queue, which is worked off one after
 * another; a job that still waits or runs is left out. MAUTIC_CRON_TIMEOUT (seconds) ends a job that
 * hangs.
 *
 * SIGTERM ends the running job the same way, then the loop. Exit status: 0 stopped by a signal,
 * 78 a job is described wrongly.
 */
require_once __DIR__.'/scheduler.php';

try {
    $table = json_decode((string) file_get_contents('/opt/mautic/cron.json'), true, 8, JSON_THROW_ON_ERROR);
    $own = '/var/www/html/config/cron.json';
    if (is_file($own)) {
        $table = Job::change($table, (string) file_get_contents($own), 'config/cron.json');
    }
    if ('' !== $changes = (string) getenv('MAUTIC_CRON_JOBS')) {
        $table = Job::change($table, $changes, 'MAUTIC_CRON_JOBS');
    }
    $jobs = Job::readTable($table);
} catch (InvalidArgumentException $e) {
    fwrite(STDERR, "cron: {$e->getMessage()}\n");
    exit(78);
}
foreach ($jobs as $name => $job) {
    if (null !== $job->schedule && 'mautic:email:fetch' === $job->command[0] && !extension_loaded('imap')) {
        fwrite(STDERR, "cron: {$name} stays off: mautic:email:fetch needs PHP's extension imap, which Debian has up to bookworm (PHP 8.2)\n");
        unset($jobs[$name]);
    }
}
(new Scheduler($jobs, (int) getenv('MAUTIC_CRON_TIMEOUT'), static fn (): DateTimeImmutable => new DateTimeImmutable()))->run();
