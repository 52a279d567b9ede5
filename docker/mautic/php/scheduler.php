<?php

declare(strict_types=1);

require_once __DIR__.'/jobs.php';

/** One run of a job: its process, and what it says, line by line under the job's name. */
final class Run
{
    private const PROJECT = '/var/www/html';
    private const LONGEST_LINE = 65_536;

    /** @var resource */
    private $process;
    /** @var array<int, resource> by the number of the stream: 1 or 2 */
    private array $pipes = [];
    /** @var array<int, string> what is not a whole line yet */
    private array $rest = [1 => '', 2 => ''];

    public function __construct(private readonly Job $job)
    {
        $process = proc_open(
            [PHP_BINARY, 'bin/console', '--no-interaction', ...$job->command],
            [['file', '/dev/null', 'r'], ['pipe', 'w'], ['pipe', 'w']],
            $this->pipes,
            self::PROJECT,
        );
        if (false === $process) {
            throw new RuntimeException('the process could not be started');
        }
        $this->process = $process;
        foreach ($this->pipes as $pipe) {
            stream_set_blocking($pipe, false);
        }
    }

    /** @return array<int, resource> */
    public function pipes(): array
    {
        return $this->pipes;
    }

    /** Passes on what was said, and returns how it ended; null while it runs. */
    public function watch(): ?string
    {
        $status = proc_get_status($this->process);
        foreach ($this->pipes as $number => $pipe) {
            while ('' !== $text = (string) fread($pipe, 8192)) {
                $this->pass($number, $text);
            }
            // A process of its own that it left behind may hold them open.
            if (feof($pipe) || !$status['running']) {
                fclose($pipe);
                unset($this->pipes[$number]);
            }
        }
        if ($status['running']) {
            return null;
        }
        foreach (array_filter($this->rest, 'strlen') as $number => $line) {
            $this->line($number, $line);
        }

        return $status['signaled'] ? "signal {$status['termsig']}" : "exit {$status['exitcode']}";
    }

    public function signal(int $signal): void
    {
        proc_terminate($this->process, $signal);
    }

    private function pass(int $number, string $text): void
    {
        $lines = explode("\n", $this->rest[$number].$text);
        $this->rest[$number] = (string) array_pop($lines);
        if (strlen($this->rest[$number]) > self::LONGEST_LINE) {
            $lines[] = $this->rest[$number];
            $this->rest[$number] = '';
        }
        foreach ($lines as $line) {
            $this->line($number, $line);
        }
    }

    private function line(int $number, string $line): void
    {
        if ('' !== trim($line)) {
            fwrite(1 === $number ? STDOUT : STDERR, "{$this->job->name}: ".rtrim($line, "\r")."\n");
        }
    }
}

/**
 * Runs jobs when they are due, until SIGTERM. A job never runs twice at once; a run that cannot
 * begin in time is missed, and said to be.
 */
final class Scheduler
{
    /** Where the state is kept, for whoever asks beside us. */
    public const STATE = '/tmp/mautic-cron.json';
    private const BUSY_MICROSECONDS = 100_000;
    private const IDLE_MICROSECONDS = 500_000;
    private const STOP_GRACE_SECONDS = 15;
    /** How far back a clock that jumped is looked after. */
    private const LONGEST_GAP_SECONDS = 86_400;

    /** @var array<string, DateTimeImmutable> when the jobs that wait for their turn were due, by name */
    private array $queue = [];
    /** @var array<string, array{run: Run, since: float, killAt: ?float}> */
    private array $running = [];
    /** @var array<string, array<string, mixed>> */
    private array $state = [];
    private ?int $minute = null;
    private bool $stopping = false;

    /**
     * @param array<string, Job>           $jobs
     * @param Closure(): DateTimeImmutable $clock the current time
     */
    public function __construct(
        private readonly array $jobs,
        private readonly int $timeoutSeconds,
        private readonly Closure $clock,
        private readonly int $parallel = 1,
        private readonly int $delaySeconds = 0,
    ) {
        pcntl_async_signals(true);
        pcntl_signal(SIGTERM, function (): void { $this->stopping = true; });
    }

    public function run(): void
    {
        // What is known from before a crash of this process, whose place survives it.
        $known = json_decode((string) @file_get_contents(self::STATE), true);
        $this->state = $known['jobs'] ?? [];
        $active = array_filter($this->jobs, static fn (Job $job): bool => null !== $job->schedule);
        $this->say(sprintf('%d jobs: %s', count($active), implode(', ', array_keys($active))));
        $this->save();
        $begin = null;
        while (true) {
            $now = ($this->clock)();
            $begin ??= $now->getTimestamp() + $this->delaySeconds;
            if (!$this->stopping && $now->getTimestamp() >= $begin) {
                $this->enqueueDue($active, $now);
                $this->startQueued($now);
            }
            $this->watch();
            if ($this->stopping && [] === $this->running) {
                // It is asked again each second (mautic.sh): while PHP ends that would kill it.
                pcntl_signal(SIGTERM, SIG_IGN);
                $this->say('stopped');

                return;
            }
            $this->sleep();
        }
    }

    /** @param array<string, Job> $jobs */
    private function enqueueDue(array $jobs, DateTimeImmutable $now): void
    {
        $minute = intdiv($now->getTimestamp(), 60) * 60;
        // A minute that comes again, as when a clock is set back a little, is over.
        if (null !== $this->minute && $minute <= $this->minute && $this->minute - $minute < 3600) {
            return;
        }
        // The minute of the start counts, but for what an earlier scheduler has begun in it.
        $isFirst = null === $this->minute;
        $last = max(min($this->minute ?? $minute, $minute - 60), $minute - self::LONGEST_GAP_SECONDS);
        $this->minute = $minute;
        foreach ($jobs as $name => $job) {
            $due = [];
            for ($time = $last + 60; $time <= $minute; $time += 60) {
                if ($job->schedule->matches($at = $now->setTimestamp($time))) {
                    $due[] = $at;
                }
            }
            if ([] === $due || ($isFirst && strtotime($this->state[$name]['startedAt'] ?? '') >= $minute)) {
                continue;
            }
            $latest = array_pop($due);
            if ([] !== $due) {
                $this->miss($name, end($due), 'the scheduler did not look at the clock', count($due));
            }
            if (isset($this->running[$name])) {
                $this->miss($name, $latest, 'its last run has not ended');
                continue;
            }
            if (isset($this->queue[$name])) {
                $this->miss($name, $this->queue[$name], 'it had no turn before the next one');
            }
            $this->queue[$name] = $latest;
        }
    }

    private function startQueued(DateTimeImmutable $now): void
    {
        foreach ($this->queue as $name => $due) {
            $limit = $this->jobs[$name]->startingDeadlineSeconds;
            if ($now->getTimestamp() - $due->getTimestamp() > $limit) {
                unset($this->queue[$name]);
                $this->miss($name, $due, "it could not begin within {$limit} s");
            } elseif ($this->hasTurn($this->jobs[$name]->lane())) {
                unset($this->queue[$name]);
                $this->start($name);
            }
        }
    }

    private function hasTurn(string $lane): bool
    {
        $same = array_filter(array_keys($this->running), fn (string|int $name): bool => $this->jobs[$name]->lane() === $lane);

        return count($same) < ('' === $lane ? $this->parallel : 1);
    }

    private function start(string $name): void
    {
        $this->say("{$name} starts: ".implode(' ', $this->jobs[$name]->command));
        $this->state[$name] = ['startedAt' => $this->now()] + ($this->state[$name] ?? []);
        try {
            $this->running[$name] = ['run' => new Run($this->jobs[$name]), 'since' => microtime(true), 'killAt' => null];
        } catch (RuntimeException $e) {
            $this->end($name, $e->getMessage(), 0.0);
        }
        $this->save();
    }

    /** Notes the ends of running jobs, and brings them about where they are due. */
    private function watch(): void
    {
        foreach ($this->running as $name => ['run' => $run, 'since' => $since, 'killAt' => $killAt]) {
            $seconds = microtime(true) - $since;
            $limit = $this->jobs[$name]->activeDeadlineSeconds ?? $this->timeoutSeconds;
            if (null !== $how = $run->watch()) {
                unset($this->running[$name]);
                $this->end($name, $how, $seconds);
                $this->save();
            } elseif (null === $killAt && ($this->stopping || $seconds > $limit)) {
                $this->say("{$name} is stopped ".($this->stopping ? 'with us' : "after {$limit} s"));
                $run->signal(SIGTERM);
                $this->running[$name]['killAt'] = microtime(true) + self::STOP_GRACE_SECONDS;
            } elseif (null !== $killAt && microtime(true) > $killAt) {
                $run->signal(SIGKILL);
            }
        }
    }

    private function end(string $name, string $how, float $seconds): void
    {
        $this->say(sprintf('%s ends: %s, %.1f s', $name, $how, $seconds));
        $this->state[$name] = ['endedAt' => $this->now(), 'result' => $how, 'seconds' => round($seconds, 1)] + $this->state[$name];
    }

    private function miss(string $name, DateTimeImmutable $due, string $why, int $count = 1): void
    {
        $earlier = $count > 1 ? sprintf(' and %d before it', $count - 1) : '';
        $this->say("{$name} misses its run of {$due->format('H:i')}{$earlier}: {$why}");
        $this->state[$name] = ['missed' => ($this->state[$name]['missed'] ?? 0) + $count] + ($this->state[$name] ?? []);
        $this->save();
    }

    private function sleep(): void
    {
        $pipes = array_merge(...array_map(static fn (array $each): array => array_values($each['run']->pipes()), array_values($this->running)));
        if ([] === $pipes) {
            usleep([] === $this->running ? self::IDLE_MICROSECONDS : self::BUSY_MICROSECONDS);

            return;
        }
        $none = null;
        // A signal interrupts it with a warning.
        @stream_select($pipes, $none, $none, 0, self::BUSY_MICROSECONDS);
    }

    private function save(): void
    {
        $written = self::STATE.'.new';
        $running = array_fill_keys(array_keys($this->running), true);
        $text = json_encode(['running' => $running, 'jobs' => $this->state], JSON_THROW_ON_ERROR | JSON_FORCE_OBJECT);
        if (false === @file_put_contents($written, $text) || !@rename($written, self::STATE)) {
            $this->say('the state cannot be kept: '.(error_get_last()['message'] ?? ''));
        }
    }

    private function now(): string
    {
        return ($this->clock)()->format(DATE_ATOM);
    }

    private function say(string $message): void
    {
        fwrite(STDERR, "cron: {$message}\n");
    }
}
