<?php

declare(strict_types=1);

/**
 * Installs Mautic into an empty database, or fills it from a seed, or brings an installed one to this release.
 *
 * Safe to run again and twice at once: everything happens under a lock held in the database. Data is
 * never dropped: mautic:install --force would do that without a word, so it runs only where there is
 * no user and no content. What is done already is not asked of Mautic again: each of its commands
 * takes a second or more.
 *
 * Environment: MAUTIC_DB_*, MAUTIC_SECRET_KEY, MAUTIC_SITE_URL, for the first installation also
 * MAUTIC_ADMIN_{USERNAME,EMAIL,PASSWORD}, and MAUTIC_SEED, the database of a seed, to copy that in place of
 * installing; MAUTIC_SEED_UPLOADS, not empty where the branch shares the seed's uploads; MAUTIC_SNAPSHOTS, how
 * many points in time are kept, one before each run of migrations (0: none); MAUTIC_RELEASE, what is deployed, which is noted with it; MAUTIC_MIGRATE_WAIT and MAUTIC_MIGRATE_LOCK_WAIT in seconds.
 *
 * Exit status: 0 done, 1 a step failed, 65 the database has content but no user, 75 no database in
 * time or another migration holds the lock, 77 the database refuses us, its host is unknown or there is
 * no such seed, 78 a setting is missing, 143 stopped by a signal.
 */
require_once '/opt/mautic/waiting.php';
require_once '/opt/mautic/migrations.php';
require_once '/opt/mautic/database_lock.php';
require_once '/opt/mautic/seed_clone.php';
require_once '/opt/mautic/snapshots.php';

final class Migration
{
    private const PROJECT = '/var/www/html';
    /** Where the installer may write: a scratch folder inside the project, on a tmpfs. */
    private const SCRATCH = self::PROJECT.'/var/tmp/install';
    private const STOP_GRACE_SECONDS = 15;
    /** The worker of a branch whose database was emptied makes its table, messenger_messages, at any moment: then the installer fails. */
    private const INSTALL_TRIES = 3;

    private readonly Waiting $waiting;
    private PDO $database;
    private Migrations $migrations;
    private Snapshots $snapshots;

    /** @param array<string, mixed> $parameters Mautic's parameters, as in local.php */
    public function __construct(private readonly array $parameters)
    {
        $this->waiting = new Waiting('migrate');
        $this->waiting->heed();
    }

    public function run(): void
    {
        $this->requireSettings(['MAUTIC_SITE_URL', 'MAUTIC_SECRET_KEY']);
        $this->connect((int) MauticEnvironment::get('MAUTIC_MIGRATE_WAIT', '120'));
        DatabaseLock::take($this->database, $this->parameters['db_name'], $this->waiting, (int) MauticEnvironment::get('MAUTIC_MIGRATE_LOCK_WAIT', '900'));
        if ($this->migrations->rows('users') > 0) {
            $this->say('Mautic is installed');
            $this->takeSnapshot();
        } else {
            $this->requireNoContent();
            $seed = MauticEnvironment::get('MAUTIC_SEED');
            null === $seed ? $this->install() : (new SeedClone($this->parameters, $this->database, $this->waiting))->run($seed, shared: null !== MauticEnvironment::get('MAUTIC_SEED_UPLOADS'));
        }
        $this->migrate();
        $this->console('the plugins', ['mautic:plugins:reload']);
        $this->snapshots->close();
        $this->say('done');
    }

    /** @param list<string> $names */
    private function requireSettings(array $names): void
    {
        foreach ($names as $name) {
            if ('' === (string) MauticEnvironment::get($name)) {
                throw new Stop("{$name} (or {$name}_FILE) is not set", Stop::WRONG_SETTING);
            }
        }
    }

    private function connect(int $waitSeconds): void
    {
        $this->database = $this->waiting->connectAs($this->parameters, microtime(true) + $waitSeconds);
        $this->migrations = new Migrations($this->database, (string) $this->parameters['db_table_prefix']);
        $this->snapshots = new Snapshots($this->parameters, $this->database, $this->waiting);
    }

    /** Before migrations that have something to do, where snapshots are asked for. */
    private function takeSnapshot(): void
    {
        $most = (int) MauticEnvironment::get('MAUTIC_SNAPSHOTS', '0');
        $missing = $this->migrations->missing();
        if (0 === $most || [] === $missing) {
            return;
        }
        if ($this->snapshots->isOpen()) {
            // One of what has been left half way would be worth nothing.
            $this->say('an earlier run of migrations was cut off; the snapshot from before it stays');

            return;
        }
        try {
            $this->snapshots->open($this->snapshots->take(null === $missing ? 'before all migrations' : sprintf('before %d migrations', count($missing)), $most));
        } catch (Stop $e) {
            if (Obstacle::ACCESS_DENIED !== $e->reason) {
                throw $e;
            }
            // A server that was made before snapshots were known: as good as it was then.
            $this->say("no snapshot: {$e->getMessage()}");
        }
    }

    private function requireNoContent(): void
    {
        foreach ($this->migrations->content() as $table => $rows) {
            if ($rows > 0) {
                throw new Stop("the database {$this->parameters['db_name']} has rows in {$this->parameters['db_table_prefix']}{$table} but no user: installing would drop them. Restore the table users, or give an empty database", Stop::HAS_CONTENT);
            }
        }
    }

    private function install(): void
    {
        $this->requireSettings(['MAUTIC_ADMIN_USERNAME', 'MAUTIC_ADMIN_EMAIL', 'MAUTIC_ADMIN_PASSWORD']);
        if ($this->migrations->rows('users') === 0 || $this->migrations->rows('roles') !== null) {
            $this->say('an earlier installation was cut off before its first user; installing again');
        }
        // The installer's last step records all migrations as done, and fails without their table.
        $this->syncMigrationsTable();
        try {
            $config = $this->writeInstallerConfig();
            for ($left = self::INSTALL_TRIES - 1; !$this->tryToInstall($config); --$left) {
                if (0 === $left || null === $this->migrations->rows('messenger_messages')) {
                    throw new Stop('mautic:install failed; its output above says why', Stop::FAILED);
                }
                $this->say('a worker has made its table meanwhile; once more');
            }
        } finally {
            // It holds the administrator's password, and what the installer wrote.
            array_map('unlink', glob(self::SCRATCH.'/*') ?: []);
            @rmdir(self::SCRATCH);
        }
        $this->say('installed');
    }

    /**
     * Runs the installer; returns false if it failed.
     *
     * @throws Stop when a signal asks for it
     */
    private function tryToInstall(string $config): bool
    {
        try {
            // An empty MAUTIC_SITE_URL: with a site_url mautic:install says "already installed".
            $this->console('the installation', ['mautic:install', '--force', (string) $this->parameters['site_url']], [
                'MAUTIC_INSTALL_CONFIG' => $config,
                'MAUTIC_SITE_URL' => '',
            ]);
        } catch (Stop $e) {
            if (Stop::FAILED !== $e->getCode()) {
                throw $e;
            }
            $this->say($e->getMessage());

            return false;
        }

        // Its exit status is 0 for some failures.
        return ($this->migrations->rows('users') ?? 0) > 0;
    }

    /** The installer takes the administrator from its configuration; in argv everybody could read it. */
    private function writeInstallerConfig(): string
    {
        $administrator = [];
        foreach (['username', 'email', 'password'] as $key) {
            $administrator['admin_'.$key] = MauticEnvironment::get('MAUTIC_ADMIN_'.strtoupper($key));
        }
        if (!is_dir(self::SCRATCH)) {
            mkdir(self::SCRATCH, 0700, true);
        }
        $file = self::SCRATCH.'/local.php';
        touch($file);
        chmod($file, 0600);
        file_put_contents($file, "<?php\ninclude '".self::PROJECT."/config/local.php';\n"
            ."\$parameters['site_url'] = null;\n"
            .'$parameters += '.var_export($administrator + ['db_driverOptions' => MauticEnvironment::databaseOptions()], true).";\n");

        return $file;
    }

    private function migrate(): void
    {
        if ([] === $this->migrations->missing()) {
            $this->say('all migrations are recorded');

            return;
        }
        $this->syncMigrationsTable();
        // A schema without any record was made by another tool, or by an installation that was cut
        // off in its last step: hundreds of migrations have nothing to do, and say so.
        $quiet = ($this->migrations->rows('migrations') ?? 0) < 1 ? ['--quiet'] : [];
        $this->console('the migrations', ['doctrine:migrations:migrate', '--allow-no-migration', ...$quiet]);
        $skipped = $this->migrations->missing() ?? [];
        if ([] !== $skipped) {
            // Those that the schema does not need skip themselves, and Doctrine keeps no record of it.
            $this->say(sprintf('%d migrations had nothing to do: %s', count($skipped), implode(', ', array_map(Migrations::shortName(...), $skipped))));
            $this->console('the record of migrations', ['doctrine:migrations:version', '--add', '--all', '--quiet']);
        }
        if ([] !== $this->migrations->missing()) {
            throw new Stop('not every migration is recorded in the database', Stop::FAILED);
        }
    }

    private function syncMigrationsTable(): void
    {
        $this->console("the migrations' table", ['doctrine:migrations:sync-metadata-storage']);
    }

    /**
     * Runs a command of Mautic's console; its output goes to our stderr.
     *
     * @param list<string>          $arguments
     * @param array<string, string> $environment beside our own
     */
    private function console(string $what, array $arguments, array $environment = []): void
    {
        $this->waiting->breakOnSignal();
        $this->say("{$what}: {$arguments[0]}");
        $started = microtime(true);
        $process = proc_open(
            [PHP_BINARY, 'bin/console', '--no-interaction', ...$arguments],
            [['file', '/dev/null', 'r'], STDERR, STDERR],
            $pipes,
            self::PROJECT,
            $environment + getenv(),
        );
        if (false === $process) {
            throw new Stop("{$arguments[0]} could not be started", Stop::FAILED);
        }
        $killAt = null;
        while (($status = proc_get_status($process))['running']) {
            if ($this->waiting->isStopping() && null === $killAt) {
                proc_terminate($process, SIGTERM);
                $killAt = microtime(true) + self::STOP_GRACE_SECONDS;
            } elseif (null !== $killAt && microtime(true) > $killAt) {
                proc_terminate($process, SIGKILL);
            }
            usleep(20_000);
        }
        $this->waiting->breakOnSignal();
        $seconds = microtime(true) - $started;
        if (0 !== $status['exitcode']) {
            throw new Stop(sprintf('%s failed: exit status %d after %.1f s', $arguments[0], $status['exitcode'], $seconds), Stop::FAILED);
        }
        $this->say(sprintf('%s: %.1f s', $what, $seconds));
    }

    private function say(string $message): void
    {
        $this->waiting->say($message);
    }
}

runOrExit('migrate', static function (): void {
    (new Migration(mauticParameters()))->run();
});
