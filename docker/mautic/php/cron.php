<?php

declare(strict_types=1);

/**
 * Runs Mautic's scheduled commands, for Compose and for clusters where one pod is enough for them.
 *
 *   cron.php          until SIGTERM, which ends the running commands the same way
 *   cron.php status   what became of them, as JSON; to be asked beside a running one
 *
 * The jobs are those of cron.json, changed by config/cron.json, or those of the file that
 * MAUTIC_CRON_TABLE names; MAUTIC_CRON_JOBS changes either. A change is, by the job's name, a text (a
 * new schedule), null (the job is off) or an object (a new or changed job).
 *
 * Every minute, that of the start included, the due jobs join a queue, which is worked off
 * MAUTIC_CRON_PARALLEL at a time, with one import beside them. A job that still waits or runs is left out; one that waited longer
 * than its startingDeadlineSeconds has missed its run; one that runs longer than its
 * activeDeadlineSeconds, or MAUTIC_CRON_TIMEOUT, is ended. With MAUTIC_SEED, a job with `seeded` false is off. Schedules are in the time zone
 * MAUTIC_CRON_TIME_ZONE, PHP's own without it. Nothing begins in the first MAUTIC_CRON_DELAY seconds.
 *
 * Exit status: 0 done, or stopped by a signal, 75 no scheduler has run here, 78 a setting or a job is
 * wrong.
 */
require_once __DIR__.'/scheduler.php';

try {
    $zone = (string) getenv('MAUTIC_CRON_TIME_ZONE') ?: date_default_timezone_get();
    if (!in_array($zone, DateTimeZone::listIdentifiers(DateTimeZone::ALL_WITH_BC), true)) {
        throw new InvalidArgumentException("MAUTIC_CRON_TIME_ZONE must be a time zone such as Europe/Berlin, not '{$zone}'");
    }
    $jobs = Job::fromEnvironment();
} catch (InvalidArgumentException $e) {
    fwrite(STDERR, "cron: {$e->getMessage()}\n");
    exit(78);
}
$clock = static fn (): DateTimeImmutable => new DateTimeImmutable('now', new DateTimeZone($zone));

if ('status' === ($argv[1] ?? '')) {
    $text = @file_get_contents(Scheduler::STATE);
    if (false === $text) {
        fwrite(STDERR, "cron: no scheduler has run here\n");
        exit(75);
    }
    $state = json_decode($text, true, 8, JSON_THROW_ON_ERROR);
    $rows = [];
    foreach ($jobs as $name => $job) {
        $rows[] = ['name' => $name, 'schedule' => $job->expression, 'enabled' => null !== $job->schedule && '' === $job->obstacle()]
            + ['running' => isset($state['running'][$name]), 'next' => $job->schedule?->next($clock())?->format(DATE_ATOM)]
            + ($state['jobs'][$name] ?? []);
    }
    echo json_encode($rows, JSON_THROW_ON_ERROR | JSON_UNESCAPED_SLASHES), "\n";
    exit(0);
}
foreach ($jobs as $name => $job) {
    if (null !== $job->schedule && '' !== $obstacle = $job->obstacle()) {
        fwrite(STDERR, "cron: {$name} stays off: {$obstacle}\n");
        unset($jobs[$name]);
    }
}
(new Scheduler($jobs, (int) getenv('MAUTIC_CRON_TIMEOUT'), $clock, max(1, (int) getenv('MAUTIC_CRON_PARALLEL')), (int) getenv('MAUTIC_CRON_DELAY')))->run();
