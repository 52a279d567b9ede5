<?php

declare(strict_types=1);

/**
 * Installs Mautic into an empty database, or brings an installed one to this release.
 *
 * Safe to run again and twice at once: everything happens under a lock held in the database. Data is
 * never dropped: mautic:install --force would do that without a word, so it runs only where there is
 * no user and no content.
 *
 * Environment: MAUTIC_DB_*, MAUTIC_SECRET_KEY, MAUTIC_SITE_URL, for the first installation also
 * MAUTIC_ADMIN_{USERNAME,EMAIL,PASSWORD}; MAUTIC_MIGRATE_WAIT and MAUTIC_MIGRATE_LOCK_WAIT in seconds.
 *
 * Exit status: 0 done, 1 a step failed, 65 the database has content but no user, 75 no database in
 * time or another migration holds the lock, 78 a setting is missing, 143 stopped by a signal.
 */
require_once '/opt/mautic/environment.php';

final class Stop extends RuntimeException
{
    public const FAILED = 1;
    public const HAS_CONTENT = 65;
    public const NO_DATABASE = 75;
    public const SETTING_MISSING = 78;
    public const SIGNALLED = 143;
}

final class Migration
{
    private const PROJECT = '/var/www/html';
    /** Where the installer may write: a scratch folder inside the project, on a tmpfs. */
    private const SCRATCH = self::PROJECT.'/var/tmp/install';
    /** A row in one of these is somebody's work; the installer fills others by itself. */
    private const CONTENT = ['leads', 'companies', 'lead_lists', 'campaigns', 'emails', 'forms', 'pages', 'assets'];
    private const PROBE_INTERVAL_SECONDS = 2;
    private const REPORT_INTERVAL_SECONDS = 15;
    private const STOP_GRACE_SECONDS = 15;

    private PDO $database;
    private bool $stopping = false;

    /** @param array<string, mixed> $parameters Mautic's parameters, as in local.php */
    public function __construct(private readonly array $parameters)
    {
        pcntl_async_signals(true);
        pcntl_signal(SIGTERM, function (): void { $this->stopping = true; });
    }

    public function run(): void
    {
        $this->requireSettings(['MAUTIC_SITE_URL', 'MAUTIC_SECRET_KEY']);
        $this->connect((int) MauticEnvironment::get('MAUTIC_MIGRATE_WAIT', '120'));
        $this->lock((int) MauticEnvironment::get('MAUTIC_MIGRATE_LOCK_WAIT', '900'));
        if ($this->rows('users') > 0) {
            $this->say('Mautic is installed');
        } else {
            $this->install();
        }
        $this->migrate();
        $this->console('the plugins', ['mautic:plugins:reload']);
        $this->say('done');
    }

    /** @param list<string> $names */
    private function requireSettings(array $names): void
    {
        foreach ($names as $name) {
            if ('' === (string) MauticEnvironment::get($name)) {
                throw new Stop("{$name} (or {$name}_FILE) is not set", Stop::SETTING_MISSING);
            }
        }
    }

    private function connect(int $waitSeconds): void
    {
        ['db_host' => $host, 'db_port' => $port, 'db_name' => $name] = $this->parameters;
        $deadline = time() + $waitSeconds;
        $reportedAt = 0;
        while (true) {
            try {
                $this->database = new PDO(
                    "mysql:host={$host};port={$port};dbname={$name};charset=utf8mb4",
                    $this->parameters['db_user'],
                    $this->parameters['db_password'],
                    [PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION, PDO::ATTR_TIMEOUT => 5],
                );
                break;
            } catch (PDOException $e) {
                $this->breakOnSignal();
                if (time() >= $deadline) {
                    throw new Stop("no database {$name} on {$host}:{$port} after {$waitSeconds} s: {$e->getMessage()}", Stop::NO_DATABASE);
                }
                if (time() - $reportedAt >= self::REPORT_INTERVAL_SECONDS) {
                    $reportedAt = time();
                    $this->say("waiting for the database {$name} on {$host}:{$port}: {$e->getMessage()}");
                }
                sleep(self::PROBE_INTERVAL_SECONDS);
            }
        }
        // The connection holds the lock and is idle while the commands run.
        $this->database->exec('SET SESSION wait_timeout = 86400');
    }

    private function lock(int $waitSeconds): void
    {
        // Locks belong to the server, not to the database; their names have at most 64 characters.
        $name = $this->database->quote('mautic-migrate:'.substr(hash('sha256', $this->parameters['db_name']), 0, 32));
        $deadline = time() + $waitSeconds;
        while (1 !== (int) $this->database->query("SELECT GET_LOCK({$name}, ".min(self::REPORT_INTERVAL_SECONDS, $waitSeconds).')')->fetchColumn()) {
            $this->breakOnSignal();
            $holder = $this->database->query("SELECT IS_USED_LOCK({$name})")->fetchColumn();
            if (time() >= $deadline) {
                throw new Stop("another migration (database connection {$holder}) still runs after {$waitSeconds} s", Stop::NO_DATABASE);
            }
            $this->say("another migration runs (database connection {$holder}); waiting for it");
        }
    }

    private function install(): void
    {
        foreach (self::CONTENT as $table) {
            if ($this->rows($table) > 0) {
                throw new Stop("the database {$this->parameters['db_name']} has rows in {$this->parameters['db_table_prefix']}{$table} but no user: installing would drop them. Restore the table users, or give an empty database", Stop::HAS_CONTENT);
            }
        }
        $this->requireSettings(['MAUTIC_ADMIN_USERNAME', 'MAUTIC_ADMIN_EMAIL', 'MAUTIC_ADMIN_PASSWORD']);
        if ($this->rows('users') === 0 || $this->rows('roles') !== null) {
            $this->say('an earlier installation was cut off before its first user; installing again');
        }
        // The installer's last step records all migrations as done, and fails without their table.
        $this->syncMigrationsTable();
        try {
            $config = $this->writeInstallerConfig();
            // An empty MAUTIC_SITE_URL: with a site_url mautic:install says "already installed".
            $this->console('the installation', ['mautic:install', '--force', (string) $this->parameters['site_url']], [
                'MAUTIC_INSTALL_CONFIG' => $config,
                'MAUTIC_SITE_URL' => '',
            ]);
        } finally {
            // It holds the administrator's password, and what the installer wrote.
            array_map('unlink', glob(self::SCRATCH.'/*') ?: []);
            @rmdir(self::SCRATCH);
        }
        // The installer's exit status is 0 for some failures.
        if (($this->rows('users') ?? 0) < 1) {
            throw new Stop('mautic:install made no user; its output above says why', Stop::FAILED);
        }
        $this->say('installed');
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
            .'$parameters += '.var_export($administrator, true).";\n");

        return $file;
    }

    private function migrate(): void
    {
        $this->syncMigrationsTable();
        $unrecorded = ($this->rows('migrations') ?? 0) < 1;
        $this->console('the migrations', ['doctrine:migrations:migrate', '--allow-no-migration', ...($unrecorded ? ['--quiet'] : [])]);
        if ($unrecorded) {
            // An installation that was cut off in its last step, or made by another tool. Migrations
            // that its schema does not need have skipped themselves and are not recorded.
            $this->console('the record of migrations', ['doctrine:migrations:version', '--add', '--all', '--quiet']);
        }
        if (($this->rows('migrations') ?? 0) < 1) {
            throw new Stop('no migration is recorded in the database', Stop::FAILED);
        }
    }

    private function syncMigrationsTable(): void
    {
        $this->console("the migrations' table", ['doctrine:migrations:sync-metadata-storage']);
    }

    /** The number of rows of one of Mautic's tables; null when there is no such table. */
    private function rows(string $table): ?int
    {
        $table = $this->parameters['db_table_prefix'].$table;
        $exists = $this->database->prepare('SELECT 1 FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = ?');
        $exists->execute([$table]);
        if (false === $exists->fetchColumn()) {
            return null;
        }

        return (int) $this->database->query('SELECT COUNT(*) FROM `'.str_replace('`', '``', $table).'`')->fetchColumn();
    }

    /**
     * Runs a command of Mautic's console; its output goes to our stderr.
     *
     * @param list<string>          $arguments
     * @param array<string, string> $environment beside our own
     */
    private function console(string $what, array $arguments, array $environment = []): void
    {
        $this->breakOnSignal();
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
            if ($this->stopping && null === $killAt) {
                proc_terminate($process, SIGTERM);
                $killAt = microtime(true) + self::STOP_GRACE_SECONDS;
            } elseif (null !== $killAt && microtime(true) > $killAt) {
                proc_terminate($process, SIGKILL);
            }
            usleep(20_000);
        }
        $this->breakOnSignal();
        $seconds = microtime(true) - $started;
        if (0 !== $status['exitcode']) {
            throw new Stop(sprintf('%s failed: exit status %d after %.1f s', $arguments[0], $status['exitcode'], $seconds), Stop::FAILED);
        }
        $this->say(sprintf('%s: %.1f s', $what, $seconds));
    }

    private function breakOnSignal(): void
    {
        if ($this->stopping) {
            throw new Stop('stopped by a signal', Stop::SIGNALLED);
        }
    }

    private function say(string $message): void
    {
        fwrite(STDERR, "migrate: {$message}\n");
    }
}

try {
    $parameters = (static function (): array {
        include '/var/www/html/config/local.php';

        return $parameters;
    })();
    (new Migration($parameters))->run();
} catch (Stop $e) {
    fwrite(STDERR, "migrate: {$e->getMessage()}\n");
    exit($e->getCode());
} catch (PDOException $e) {
    fwrite(STDERR, "migrate: the database failed: {$e->getMessage()}\n");
    exit(Stop::NO_DATABASE);
}
