<?php

declare(strict_types=1);

namespace Standin;

use Throwable;

/** bin/console: the verbs of Mautic that mautic-multidev uses, with the exit codes Mautic gives. */
final class Console
{
    /** Commands that only have to run: each counts itself in the database. */
    private const REGULAR = [
        'broadcasts:send', 'campaigns:trigger', 'campaigns:update', 'contacts:cleanup_exported_files',
        'contacts:scheduled_export', 'custom-field:create-column', 'custom-field:delete-column',
        'custom-field:update-column', 'email:fetch', 'import', 'iplookup:download', 'maintenance:cleanup', 'messages:send',
        'reports:scheduler', 'segments:update', 'social:monitoring', 'webhooks:delete_logs',
        'webhooks:process',
    ];

    private readonly Parameters $parameters;
    private readonly Cache $cache;
    private ?Database $connection = null;

    /** @var list<string> */
    private array $arguments = [];

    /** @var array<string, string> */
    private array $options = [];

    /** @param list<string> $words what follows bin/console */
    public function run(array $words): int
    {
        foreach ($words as $word) {
            if (preg_match('/^--([a-z_-]+)(?:=(.*))?$/s', $word, $found)) {
                $this->options[$found[1]] = $found[2] ?? '';
            } elseif (!preg_match('/^-[a-zA-Z]+$/', $word)) {
                $this->arguments[] = $word;
            }
        }
        $verb = array_shift($this->arguments) ?? (isset($this->options['version']) ? 'about' : 'list');
        try {
            $this->say(NOTICE);
            $this->parameters = new Parameters();
            $this->cache = new Cache($this->parameters);

            return $this->dispatch($verb);
        } catch (Throwable $error) {
            return $this->fail(sprintf('%s: %s', $verb, $error->getMessage()));
        }
    }

    private function dispatch(string $verb): int
    {
        $version = 'cache:warmup' === $verb ? '' : $this->cache->read()['version'];

        return match ($verb) {
            'list'                                => $this->listVerbs(),
            'about'                               => $this->say("Stand-in of mautic-multidev {$version}, PHP ".PHP_VERSION),
            'cache:clear', 'cache:warmup'         => $this->compile($verb),
            'mautic:install'                      => $this->install(),
            'mautic:plugins:reload', 'mautic:plugins:install', 'mautic:plugins:update' => $this->reloadPlugins(),
            'mautic:user:password'                => $this->resetPassword(),
            'doctrine:migrations:sync-metadata-storage' => $this->syncStorage(),
            'doctrine:migrations:list'            => $this->listMigrations(),
            'doctrine:migrations:status'          => $this->migrationStatus(),
            'doctrine:migrations:migrate'         => $this->migrate(),
            'doctrine:migrations:execute'         => $this->executeMigration(),
            'doctrine:migrations:up-to-date'      => $this->isUpToDate(),
            'doctrine:migrations:version'         => $this->markMigrations(),
            'messenger:consume'                   => $this->consume(),
            'messenger:failed:retry', 'messenger:failed:remove' => $this->settle($verb),
            'mautic:integration:fetchleads', 'mautic:integration:pushactivity' => $this->integrate($verb),
            'mautic:contacts:deduplicate'         => $this->fail('No contacts to deduplicate.'),
            'mautic:max-mind:purge'               => $this->fail('MaxMind is not configured.'),
            default => in_array($verb, $this->regular(), true)
                ? $this->count($verb)
                : $this->fail("Command \"{$verb}\" is not defined. \"bin/console list\" shows those that are."),
        };
    }

    private function listVerbs(): int
    {
        $verbs = array_merge($this->regular(), [
            'about', 'cache:clear', 'cache:warmup', 'doctrine:migrations:execute', 'doctrine:migrations:list',
            'doctrine:migrations:migrate', 'doctrine:migrations:status',
            'doctrine:migrations:sync-metadata-storage', 'doctrine:migrations:up-to-date',
            'doctrine:migrations:version', 'list',
            'mautic:contacts:deduplicate', 'mautic:install', 'mautic:integration:fetchleads',
            'mautic:integration:pushactivity', 'mautic:max-mind:purge', 'mautic:plugins:install',
            'mautic:plugins:reload', 'mautic:plugins:update',
            'mautic:user:password', 'messenger:consume', 'messenger:failed:remove', 'messenger:failed:retry',
        ]);
        sort($verbs);
        array_map($this->say(...), $verbs);

        return 0;
    }

    private function compile(string $verb): int
    {
        'cache:clear' === $verb ? $this->cache->clear() : $this->cache->write();

        return $this->say('The cache is '.('cache:clear' === $verb ? 'cleared and warm again.' : 'warm.'));
    }

    /** With the traps of Mautic's installer: its refusals exit 0. But this one never drops a table. */
    private function install(): int
    {
        $file = $this->parameters->localFile;
        if ($this->parameters->isInstalled()) {
            return $this->say('Mautic already installed');
        }
        if (!is_writable(is_file($file) ? $file : dirname($file))) {
            return $this->say("Install canceled: {$file} is not writable.");
        }
        $siteUrl = $this->arguments[0] ?? '';
        if (!filter_var($siteUrl, FILTER_VALIDATE_URL)) {
            return $this->fail('mautic:install needs the site\'s URL as its argument.');
        }
        $admin = [];
        foreach (['username', 'email', 'password'] as $key) {
            $admin[$key] = $this->options["admin_{$key}"] ?? $this->parameters->local["admin_{$key}"] ?? '';
            if ('' === $admin[$key]) {
                return $this->fail("mautic:install needs the parameter admin_{$key}.");
            }
        }
        $migrations = new Migrations($this->database());
        foreach ($migrations->all() as $version) {
            $migrations->createTables($version);
        }
        if (0 === (int) $this->database()->value('SELECT COUNT(*) FROM {users}')) {
            $this->database()->run(
                'INSERT INTO {users} (username, password, email, date_added) VALUES (?, ?, ?, UTC_TIMESTAMP())',
                [$admin['username'], password_hash($admin['password'], PASSWORD_DEFAULT), $admin['email']],
            );
        } else {
            $this->say('There are users already; they stay. Mautic itself would have dropped every table.');
        }
        $written = ['site_url' => $siteUrl, 'secret_key' => bin2hex(random_bytes(32))] + $this->parameters->local + ['db_driver' => 'pdo_mysql'];
        file_put_contents($file, '<?php $parameters = '.var_export($written, true).";\n");

        return $this->say('Install complete');
    }

    private function reloadPlugins(): int
    {
        $bundles = array_map('basename', glob(PROJECT.'/docroot/plugins/*Bundle', GLOB_ONLYDIR));
        $known = $this->database()->run('SELECT bundle FROM {plugins}')->fetchAll(\PDO::FETCH_COLUMN);
        foreach (array_diff($bundles, $known) as $bundle) {
            $this->createPluginTables($bundle);
        }
        $this->database()->transaction(function () use ($bundles): void {
            $this->database()->run('DELETE FROM {plugins}');
            foreach ($bundles as $bundle) {
                $this->database()->run('INSERT INTO {plugins} (bundle) VALUES (?)', [$bundle]);
            }
        });

        return $this->say(sprintf('%d plugins.', count($bundles)));
    }

    /**
     * One table for each of the plugin's entities, unless one of them is there already. With Mautic's
     * trap: Symfony adds the table of a queue in the database to every schema that Doctrine makes.
     */
    private function createPluginTables(string $bundle): void
    {
        $tables = array_map(static fn (string $file): string => strtolower(basename($file, '.php')), glob(PROJECT."/docroot/plugins/{$bundle}/Entity/*.php"));
        if ([] === $tables || [] !== array_filter($tables, $this->database()->has(...))) {
            return;
        }
        $queues = array_filter(['email', 'hit', 'failed'], fn (string $transport): bool => null !== Queue::of($transport, $this->parameters, $this->database()));
        foreach ([...$tables, ...([] === $queues ? [] : ['messenger_messages'])] as $table) {
            $this->database()->run("CREATE TABLE {{$table}} (id INT AUTO_INCREMENT PRIMARY KEY)");
        }
    }

    /** Mautic has no such command. The password comes on stdin, so that no list of processes shows it. */
    private function resetPassword(): int
    {
        $name = $this->arguments[0] ?? '';
        $password = rtrim((string) stream_get_contents(STDIN), "\r\n");
        if ('' === $name || '' === $password) {
            return $this->fail('mautic:user:password USERNAME reads the new password from standard input.');
        }
        $found = $this->database()->run('UPDATE {users} SET password = ? WHERE username = ?', [password_hash($password, PASSWORD_DEFAULT), $name])->rowCount();

        return 1 === $found ? $this->say("The password of {$name} is changed.") : $this->fail("There is no user {$name}.");
    }

    private function syncStorage(): int
    {
        (new Migrations($this->database()))->createStorage();

        return $this->say('[OK] Metadata storage synchronized');
    }

    private function listMigrations(): int
    {
        $migrations = new Migrations($this->database());
        $pending = $migrations->pending();
        foreach ($migrations->all() as $version) {
            $this->say("| Mautic\\Migrations\\{$version} | ".(in_array($version, $pending, true) ? 'not migrated' : 'migrated').' |');
        }
        foreach ($migrations->unavailable() as $version) {
            $this->say("| Mautic\\Migrations\\{$version} | migrated, not available |");
        }

        return 0;
    }

    private function migrationStatus(): int
    {
        $migrations = new Migrations($this->database());
        $this->say('Available: '.count($migrations->all()));

        return $this->say('New: '.count($migrations->pending()));
    }

    private function isUpToDate(): int
    {
        $pending = (new Migrations($this->database()))->pending();

        return [] === $pending
            ? $this->say('[OK] Up-to-date! No migrations to execute.')
            : $this->fail(sprintf('[ERROR] Out-of-date! %d migrations are available to execute.', count($pending)));
    }

    private function migrate(): int
    {
        $migrations = new Migrations($this->database());
        $pending = $migrations->pending();
        foreach ($pending as $version) {
            $this->say(($migrations->run($version) ? 'migrated' : 'skipped')." {$version}");
        }

        return $this->say([] === $pending ? '[OK] Already at the latest version' : '[OK] Successfully migrated');
    }

    private function executeMigration(): int
    {
        $version = basename(str_replace('\\', '/', $this->arguments[0] ?? ''));
        $migrations = new Migrations($this->database());
        if (!isset($this->options['up']) || !in_array($version, $migrations->pending(), true)) {
            return $this->fail("doctrine:migrations:execute --up needs a migration that is missing, not '{$version}'.");
        }
        $started = microtime(true);

        return $this->say($migrations->run($version)
            ? sprintf('Migration %s migrated (took %.1fms, used 2M memory)', $version, (microtime(true) - $started) * 1000)
            : "Migration {$version} skipped during Pre-Checks. Reason: \"nothing to do\"");
    }

    private function markMigrations(): int
    {
        if (!isset($this->options['add'], $this->options['all'])) {
            return $this->fail('Of doctrine:migrations:version the stand-in knows --add --all only.');
        }
        $migrations = new Migrations($this->database());
        array_map($migrations->add(...), $migrations->pending());

        return $this->say('[OK] All migrations are marked as done');
    }

    private function consume(): int
    {
        if ([] === $this->arguments) {
            return $this->fail('messenger:consume needs the name of at least one transport: email, hit or failed.');
        }
        $queues = [];
        foreach ($this->arguments as $transport) {
            $queues[] = Queue::of($transport, $this->parameters, $this->database())
                ?? throw new \RuntimeException("The transport \"{$transport}\" has no queue: messages cannot be received from it.");
        }
        $stopped = false;
        if (function_exists('pcntl_async_signals')) {
            pcntl_async_signals(true);
            pcntl_signal(SIGTERM, static function () use (&$stopped): void { $stopped = true; });
            pcntl_signal(SIGINT, static function () use (&$stopped): void { $stopped = true; });
            pcntl_signal(SIGQUIT, SIG_IGN);
        }
        $end = microtime(true) + (float) ($this->options['time-limit'] ?? INF);
        $memory = self::bytes($this->options['memory-limit'] ?? '');
        $this->say('Consuming '.implode(', ', $this->arguments).'.');
        while (!$stopped && microtime(true) < $end && memory_get_usage(true) < $memory) {
            $handled = array_filter($queues, static fn (Queue $queue): bool => $queue->handleOne());
            if ([] === $handled) {
                usleep(200_000);
            }
        }

        return $this->say('Worker stopped.');
    }

    /** As in Mautic the exit status does not tell what became of a message: one that asks for it fails again. */
    private function settle(string $verb): int
    {
        if ([] === $this->arguments || !isset($this->options['force'])) {
            return $this->fail("{$verb} needs --force, and the ids of messages.");
        }
        $queue = Queue::of('failed', $this->parameters, $this->database())
            ?? throw new \RuntimeException('There is no queue of failed messages.');
        foreach ($this->arguments as $id) {
            $this->say($queue->settle((int) $id, 'messenger:failed:retry' === $verb) ? "Message {$id}: done." : "The message \"{$id}\" was not found.");
        }

        return 0;
    }

    private function integrate(string $verb): int
    {
        return '' === ($this->options['integration'] ?? '') ? $this->fail("{$verb} needs --integration=NAME.") : $this->count($verb);
    }

    private function count(string $verb): int
    {
        $this->database()->count($verb);

        return $this->say("{$verb}: done; there is nothing behind it in the stand-in.");
    }

    /** @return list<string> */
    private function regular(): array
    {
        return array_map(static fn (string $name): string => 'mautic:'.$name, self::REGULAR);
    }

    private function database(): Database
    {
        return $this->connection ??= new Database($this->parameters);
    }

    /** 256M as a number of bytes; nothing is no limit. */
    private static function bytes(string $size): float
    {
        return '' === $size ? INF : ini_parse_quantity($size);
    }

    private function say(string $line): int
    {
        if (!isset($this->options['quiet'])) {
            echo $line, "\n";
        }

        return 0;
    }

    private function fail(string $line): int
    {
        fwrite(STDERR, $line."\n");

        return 1;
    }
}
