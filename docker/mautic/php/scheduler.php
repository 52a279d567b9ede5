<?php

declare(strict_types=1);

require_once __DIR__.'/schedule.php';

final class Job
{
    /** @param list<string> $command arguments of bin/console */
    public function __construct(
        public readonly string $name,
        public readonly ?Schedule $schedule,
        public readonly array $command,
    ) {
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
            if ([] !== $unknown = array_diff(array_keys($entry), ['schedule', 'command'])) {
                throw new InvalidArgumentException("the job {$name} has the unknown key ".reset($unknown));
            }
            $jobs[$name] = new self($name, null === $schedule ? null : Schedule::parse($schedule), $command);
        }

        return $jobs;
    }

    /**
     * @param array<string, mixed> $table
     *
     * @return array<string, mixed> the table with the changes of one more source
     */
    public static function change(array $table, string $json, string $source): array
    {
        $changes = json_decode($json, true);
        if (!is_array($changes) || ([] !== $changes && array_is_list($changes))) {
            throw new InvalidArgumentException("{$source} must be a JSON object of jobs by their names");
        }
        foreach ($changes as $name => $change) {
            if (is_array($change)) {
                $table[$name] = $change + ($table[$name] ?? []);
            } elseif (!isset($table[$name])) {
                throw new InvalidArgumentException("{$source} names the job {$name}, which does not exist and has no command");
            } elseif (null === $change || is_string($change)) {
                $table[$name]['schedule'] = $change;
            } else {
                throw new InvalidArgumentException("{$source}: {$name} must be a schedule, null or an object");
            }
        }

        return $table;
    }
}

/** Runs jobs when they are due, one after another, until SIGTERM. */
final class Scheduler
{
    private const PROJECT = '/var/www/html';
    private const POLL_MICROSECONDS = 100_000;
    private const STOP_GRACE_SECONDS = 15;

    /** @var list<string> names of jobs that wait for their turn */
    private array $queue = [];
    private ?string $running = null;
    /** @var resource */
    private $process;
    private float $startedAt;
    private ?float $killAt = null;
    private bool $stopping = false;

    /**
     * @param array<string, Job>           $jobs
     * @param Closure(): DateTimeImmutable $clock the current time
     */
    public function __construct(
        private readonly array $jobs,
        private readonly int $timeoutSeconds,
        private readonly Closure $clock,
    ) {
        pcntl_async_signals(true);
        pcntl_signal(SIGTERM, function (): void { $this->stopping = true; });
    }

    public function run(): void
    {
        $active = array_filter($this->jobs, static fn (Job $job): bool => null !== $job->schedule);
        $this->say(sprintf('%d jobs: %s', count($active), implode(', ', array_keys($active))));
        $minute = null;
        while (true) {
            $now = ($this->clock)();
            if (!$this->stopping && $minute !== $now->format('Y-m-d H:i')) {
                $minute = $now->format('Y-m-d H:i');
                $this->enqueueDue($active, $now);
            }
            $this->watch();
            if ($this->stopping && null === $this->running) {
                $this->say('stopped');

                return;
            }
            if (!$this->stopping && null === $this->running && [] !== $this->queue) {
                $this->start(array_shift($this->queue));
                continue;
            }
            usleep(self::POLL_MICROSECONDS);
        }
    }

    /** @param array<string, Job> $jobs */
    private function enqueueDue(array $jobs, DateTimeImmutable $time): void
    {
        foreach ($jobs as $name => $job) {
            if (!$job->schedule->matches($time)) {
                continue;
            }
            if ($this->running === $name || in_array($name, $this->queue, true)) {
                $this->say("{$name} is left out: its last run has not ended");
                continue;
            }
            $this->queue[] = $name;
        }
    }

    private function start(string $name): void
    {
        $this->say("{$name} starts: ".implode(' ', $this->jobs[$name]->command));
        $this->process = proc_open(
            [PHP_BINARY, 'bin/console', '--no-interaction', ...$this->jobs[$name]->command],
            [['file', '/dev/null', 'r'], STDOUT, STDERR],
            $pipes,
            self::PROJECT,
        );
        $this->running = $name;
        $this->startedAt = microtime(true);
        $this->killAt = null;
    }

    /** Notes the end of the running job, and brings it about where it is due. */
    private function watch(): void
    {
        if (null === $this->running) {
            return;
        }
        $status = proc_get_status($this->process);
        $seconds = microtime(true) - $this->startedAt;
        if (!$status['running']) {
            $how = $status['signaled'] ? "signal {$status['termsig']}" : "exit {$status['exitcode']}";
            $this->say(sprintf('%s ends: %s, %.1f s', $this->running, $how, $seconds));
            $this->running = null;
        } elseif (null === $this->killAt && ($this->stopping || $seconds > $this->timeoutSeconds)) {
            $this->say("{$this->running} is stopped ".($this->stopping ? 'with us' : "after {$this->timeoutSeconds} s"));
            proc_terminate($this->process, SIGTERM);
            $this->killAt = microtime(true) + self::STOP_GRACE_SECONDS;
        } elseif (null !== $this->killAt && microtime(true) > $this->killAt) {
            proc_terminate($this->process, SIGKILL);
        }
    }

    private function say(string $message): void
    {
        fwrite(STDERR, "cron: {$message}\n");
    }
}
