<?php

declare(strict_types=1);

require_once __DIR__.'/schedule.php';

/** A scheduled command. */
final class Job
{
    private const KEYS = ['schedule', 'command', 'enabled', 'seeded', 'activeDeadlineSeconds', 'startingDeadlineSeconds'];

    /** Commands that not every Mautic has, by the file of those that do. */
    private const FILES = [
        'mautic:contacts:cleanup_exported_files' => 'LeadBundle/Command/CleanupExportedFilesCommand.php',
        'mautic:custom-field:delete-column' => 'LeadBundle/Field/Command/DeleteCustomFieldCommand.php',
    ];
    /** Commands that may take hours, each in a lane of its own: they keep no other from its turn. */
    private const LANES = ['mautic:import'];

    /**
     * @param Schedule|null $schedule                null when the job is switched off
     * @param list<string>  $command                 arguments of bin/console
     * @param int|null      $activeDeadlineSeconds   how long a run may take; null for the scheduler's own limit
     * @param int           $startingDeadlineSeconds how late a run may begin
     */
    private function __construct(
        public readonly string $name,
        public readonly ?Schedule $schedule,
        public readonly string $expression,
        public readonly array $command,
        public readonly ?int $activeDeadlineSeconds,
        public readonly int $startingDeadlineSeconds,
    ) {
    }

    /** What takes turns with it; empty for what all jobs without a lane of their own share. */
    public function lane(): string
    {
        return in_array($this->command[0], self::LANES, true) ? $this->command[0] : '';
    }

    /** Why this image cannot run it; empty if it can. */
    public function obstacle(): string
    {
        $command = $this->command[0];
        if ('mautic:email:fetch' === $command && !extension_loaded('imap')) {
            return "{$command} needs PHP's extension imap, which Debian has up to bookworm (PHP 8.2)";
        }
        if (isset(self::FILES[$command]) && !is_file('/var/www/html/docroot/app/bundles/'.self::FILES[$command])) {
            return "this Mautic has no {$command}";
        }

        return '';
    }

    /**
     * The table of jobs: that of the image with the changes of config/cron.json, or the one of the file
     * that MAUTIC_CRON_TABLE names; and in any case the changes of MAUTIC_CRON_JOBS.
     *
     * @return array<string, self>
     *
     * @throws InvalidArgumentException naming the job and what is wrong with it
     */
    public static function fromEnvironment(): array
    {
        $own = '/var/www/html/config/cron.json';
        $sources = '' === ($given = (string) getenv('MAUTIC_CRON_TABLE')) ? ['/opt/mautic/cron.json', ...(is_file($own) ? [$own] : [])] : [$given];
        $table = [];
        foreach ($sources as $source) {
            $json = @file_get_contents($source);
            if (false === $json) {
                throw new InvalidArgumentException("{$source} cannot be read");
            }
            $table = self::change($table, $json, $source === $own ? 'config/cron.json' : $source);
        }
        if ('' !== $changes = (string) getenv('MAUTIC_CRON_JOBS')) {
            $table = self::change($table, $changes, 'MAUTIC_CRON_JOBS');
        }

        return self::readTable($table);
    }

    /**
     * @param array<string, mixed> $table
     *
     * @return array<string, self>
     *
     * @throws InvalidArgumentException naming the job and what is wrong with it
     */
    public static function readTable(array $table): array
    {
        // Masked data of another Mautic.
        $isSeeded = '' !== (string) getenv('MAUTIC_SEED');
        $jobs = [];
        foreach ($table as $name => $entry) {
            $command = $entry['command'] ?? null;
            if (!is_array($command) || !array_is_list($command) || [] === $command || $command !== array_filter($command, 'is_string')) {
                throw new InvalidArgumentException("the job {$name} needs a command, a list of arguments of bin/console");
            }
            $schedule = $entry['schedule'] ?? null;
            if (null !== $schedule && !is_string($schedule)) {
                throw new InvalidArgumentException("the schedule of the job {$name} must be a text or null");
            }
            foreach (['enabled', 'seeded'] as $key) {
                if (!is_bool($entry[$key] ?? true)) {
                    throw new InvalidArgumentException("{$key} of the job {$name} must be true or false");
                }
            }
            foreach (['activeDeadlineSeconds', 'startingDeadlineSeconds'] as $key) {
                $seconds = $entry[$key] ?? 1;
                if (!is_int($seconds) || $seconds < 1) {
                    throw new InvalidArgumentException("{$key} of the job {$name} must be a number of seconds");
                }
            }
            if ([] !== $unknown = array_diff(array_keys($entry), self::KEYS)) {
                throw new InvalidArgumentException("the job {$name} has the unknown key ".reset($unknown));
            }
            $parsed = null === $schedule ? null : Schedule::parse($schedule);
            $jobs[$name] = new self(
                (string) $name,
                ($entry['enabled'] ?? true) && (($entry['seeded'] ?? true) || !$isSeeded) ? $parsed : null,
                $schedule ?? '',
                $command,
                $entry['activeDeadlineSeconds'] ?? null,
                $entry['startingDeadlineSeconds'] ?? 120,
            );
        }

        return $jobs;
    }

    /**
     * @param array<string, mixed> $table
     *
     * @return array<string, mixed> the table with the changes of one more source
     */
    private static function change(array $table, string $json, string $source): array
    {
        $changes = json_decode($json, true);
        if (!is_array($changes) || ([] !== $changes && array_is_list($changes))) {
            throw new InvalidArgumentException("{$source} must be a JSON object of jobs by their names");
        }
        foreach ($changes as $name => $change) {
            if (is_array($change)) {
                // Whoever gives a schedule means it, unless the job is switched off in the same breath.
                $table[$name] = $change + (isset($change['schedule']) ? ['enabled' => true] : []) + ($table[$name] ?? []);
            } elseif (!isset($table[$name])) {
                throw new InvalidArgumentException("{$source} names the job {$name}, which does not exist and has no command");
            } elseif (null === $change || is_string($change)) {
                $table[$name] = ['enabled' => null !== $change] + (null === $change ? [] : ['schedule' => $change]) + $table[$name];
            } else {
                throw new InvalidArgumentException("{$source}: {$name} must be a schedule, null or an object");
            }
        }

        return $table;
    }
}
