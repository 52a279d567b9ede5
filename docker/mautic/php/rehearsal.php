<?php

declare(strict_types=1);

require_once '/opt/mautic/console_run.php';
require_once '/opt/mautic/database_lock.php';
require_once '/opt/mautic/jobs.php';
require_once '/opt/mautic/lock_probe.php';
require_once '/opt/mautic/migrations.php';
require_once '/opt/mautic/site_pages.php';
require_once '/opt/mautic/table_copy.php';
require_once '/opt/mautic/table_versions.php';

/** Runs an upgrade in parts, and measures each of them. Every result is a line of JSON, written as soon as it is there. */
final class Rehearsal
{
    /** Mautic's lists: what a person opens first. */
    private const PAGES = ['contacts', 'companies', 'segments', 'forms', 'emails', 'campaigns', 'pages', 'assets', 'reports', 'webhooks', 'users', 'plugins'];
    private const PAGE_SECONDS = 120;
    private const MIGRATION_SECONDS = 86_400;

    /** @param array<string, mixed> $parameters Mautic's parameters, as in local.php */
    public function __construct(#[SensitiveParameter] private readonly array $parameters, private readonly Waiting $waiting)
    {
    }

    /**
     * Runs each migration that is missing alone, in their order, up to the first one that fails.
     *
     * @throws Stop when there is nothing to migrate from
     */
    public function migrations(): void
    {
        $server = $this->connect();
        $database = $this->parameters['db_name'];
        DatabaseLock::take($server, $database, $this->waiting, (int) MauticEnvironment::get('MAUTIC_MIGRATE_LOCK_WAIT', '900'));
        $this->mustRun(['doctrine:migrations:sync-metadata-storage']);
        $missing = (new Migrations($server, (string) $this->parameters['db_table_prefix']))->missing() ?? [];
        $versions = new TableVersions($server, $database);
        $this->tell(['mautic' => (string) Migrations::mautic(), 'pending' => count($missing), 'rebuilt_by' => $versions->by]);
        $probe = new LockProbe($this->parameters);
        foreach ($missing as $class) {
            $before = $versions->all();
            $probe->begin(TableCopy::tables($server, $database));
            $run = ConsoleRun::of(['doctrine:migrations:execute', '--up', '-vv', $class], $this->waiting, self::MIGRATION_SECONDS, $probe->look(...));
            $this->tell(['migration' => substr((string) strrchr($class, '\\'), 1)]
                + ['outcome' => 0 !== $run->status ? 'failed' : ($this->isSkipped($run) ? 'skipped' : 'done')]
                // What the console takes to start is none of the migration's.
                + ['seconds' => round(preg_match('/\(took ([0-9.]+)ms/', $run->output.$run->errors, $took) ? $took[1] / 1000 : $run->seconds, 3)]
                + $probe->end()
                + ['rebuilt' => $versions->rebuilt($before), 'error' => $run->error()]);
            if (0 !== $run->status) {
                return;
            }
        }
        // Those that the schema does not need skip themselves, and Doctrine keeps no record of it.
        $this->mustRun(['doctrine:migrations:version', '--add', '--all', '--quiet']);
    }

    /** Has Mautic look for its plugins, as each deploy does, and tells which of them the image lacks. */
    public function plugins(): void
    {
        $reload = 'mautic:plugins:reload';
        $run = ConsoleRun::of([$reload], $this->waiting, self::MIGRATION_SECONDS);
        $this->check('plugin', $reload, $run->seconds, $run->error());
        $server = $this->connect();
        $table = Source::identifier("{$this->parameters['db_table_prefix']}plugins");
        $columns = $server->query("SHOW COLUMNS FROM {$table} LIKE 'is_missing'")->fetchAll();
        $missing = [] === $columns ? [] : $server->query("SELECT bundle FROM {$table} WHERE is_missing = 1 ORDER BY bundle")->fetchAll(PDO::FETCH_COLUMN);
        foreach ($missing as $bundle) {
            $this->check('plugin', $bundle, 0.0, 'the data has it, and the image lacks it');
        }
    }

    /** Runs each scheduled command once, one after the other: also those that are off where the data is a seed's. */
    public function crons(): void
    {
        foreach (Job::fromEnvironment() as $name => $job) {
            if (null !== $job->schedule && '' === $job->obstacle()) {
                $run = ConsoleRun::of($job->command, $this->waiting, $job->activeDeadlineSeconds ?? (int) getenv('MAUTIC_CRON_TIMEOUT'));
                $this->check('cron', $name, $run->seconds, $run->error());
            }
        }
    }

    /** Opens each of Mautic's lists as a user who may see them. */
    public function pages(string $user, #[SensitiveParameter] string $password): void
    {
        $pages = new SitePages(new FastCgi((string) getenv('FPM_LISTEN'), self::PAGE_SECONDS), (string) $this->parameters['site_url']);
        try {
            $pages->logIn($user, $password);
        } catch (RuntimeException $e) {
            $this->check('page', '/s/login', 0.0, $e->getMessage());

            return;
        }
        foreach (self::PAGES as $page) {
            $this->waiting->breakOnSignal();
            $this->check('page', "/s/{$page}", ...$pages->look("/s/{$page}"));
        }
    }

    private function isSkipped(ConsoleRun $run): bool
    {
        return (bool) preg_match('/skipped/i', $run->output.$run->errors);
    }

    /** @param list<string> $arguments of bin/console */
    private function mustRun(array $arguments): void
    {
        $run = ConsoleRun::of($arguments, $this->waiting, self::MIGRATION_SECONDS);
        if (0 !== $run->status) {
            throw new Stop("{$arguments[0]} failed: {$run->error()}", Stop::FAILED);
        }
    }

    private function connect(): PDO
    {
        return $this->waiting->connectAs($this->parameters, microtime(true) + (int) MauticEnvironment::get('MAUTIC_DB_WAIT', '60'));
    }

    private function check(string $kind, string $name, float $seconds, string $error): void
    {
        $this->tell(['check' => $kind, 'name' => $name, 'seconds' => round($seconds, 3), 'error' => $error]);
    }

    /** @param array<string, mixed> $result */
    private function tell(array $result): void
    {
        fwrite(STDOUT, json_encode($result, JSON_THROW_ON_ERROR | JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE | JSON_INVALID_UTF8_SUBSTITUTE)."\n");
    }
}
