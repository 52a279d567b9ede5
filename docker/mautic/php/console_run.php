<?php

declare(strict_types=1);

require_once '/opt/mautic/waiting.php';

/** A command of Mautic's console that has been run to its end: how it ended, and what it said. */
final class ConsoleRun
{
    private const PROJECT = '/var/www/html';
    private const STOP_GRACE_SECONDS = 15;
    private const PAUSE_MICROSECONDS = 20_000;
    /** What is kept of the output: its end. */
    private const KEPT_BYTES = 65_536;
    private const LONGEST_LINE = 300;
    private const TIMED_OUT = 124;

    /**
     * @param string $output the end of what went to stdout
     * @param string $errors the end of what went to stderr
     */
    private function __construct(public readonly int $status, public readonly float $seconds, public readonly string $output, public readonly string $errors)
    {
    }

    /**
     * Runs a command, and returns when it has ended.
     *
     * @param list<string>   $arguments    of bin/console
     * @param int            $limitSeconds how long it may take
     * @param (Closure(): void)|null $meanwhile called again and again while it runs; sleeps a little itself
     *
     * @throws Stop when it could not be started, or when a signal has asked for it
     */
    public static function of(array $arguments, Waiting $waiting, int $limitSeconds, ?Closure $meanwhile = null): self
    {
        $meanwhile ??= static fn () => usleep(self::PAUSE_MICROSECONDS);
        $started = microtime(true);
        $process = proc_open(
            [PHP_BINARY, 'bin/console', '--no-interaction', ...$arguments],
            [['file', '/dev/null', 'r'], ['pipe', 'w'], ['pipe', 'w']],
            $pipes,
            self::PROJECT,
        );
        if (false === $process) {
            throw new Stop("{$arguments[0]} could not be started", Stop::FAILED);
        }
        array_walk($pipes, static fn ($pipe) => stream_set_blocking($pipe, false));
        $said = [1 => '', 2 => ''];
        $listen = static function () use ($pipes, &$said): void {
            foreach ($pipes as $number => $pipe) {
                $said[$number] = substr($said[$number].stream_get_contents($pipe), -self::KEPT_BYTES);
            }
        };
        $killAt = $ended = null;
        while (($status = proc_get_status($process))['running']) {
            $listen();
            if (null === $killAt && ($waiting->isStopping() || microtime(true) - $started > $limitSeconds)) {
                $ended = $waiting->isStopping() ? null : self::TIMED_OUT;
                proc_terminate($process, SIGTERM);
                $killAt = microtime(true) + self::STOP_GRACE_SECONDS;
            } elseif (null !== $killAt && microtime(true) > $killAt) {
                proc_terminate($process, SIGKILL);
            }
            $meanwhile();
        }
        $waiting->breakOnSignal();
        $listen();

        return new self($ended ?? ($status['signaled'] ? 128 + $status['termsig'] : $status['exitcode']), microtime(true) - $started, $said[1], $said[2]);
    }

    /** The line that says why it failed; empty when it did not. */
    public function error(): string
    {
        if (0 === $this->status) {
            return '';
        }
        if (self::TIMED_OUT === $this->status) {
            return 'it took too long, and was ended';
        }
        // Exceptions go to stderr; what a command itself has found out often goes to stdout.
        $lines = [...self::lines($this->errors), ...self::lines($this->output)];
        // Symfony says where an exception is from, and on the next line what it says.
        foreach ($lines as $number => $line) {
            if (preg_match('/^In \S+ line \d+:$/', $line) && isset($lines[$number + 1])) {
                return self::short($lines[$number + 1]);
            }
        }
        $told = preg_grep('/error|exception|fail|denied/i', $lines) ?: $lines;

        return self::short(reset($told) ?: "exit status {$this->status}");
    }

    /** @return list<string> those that say something, without colours and frames */
    private static function lines(string $text): array
    {
        return array_values(array_filter(array_map(trim(...), explode("\n", preg_replace('/\e\[[0-9;]*m/', '', $text))), strlen(...)));
    }

    private static function short(string $line): string
    {
        return mb_strimwidth($line, 0, self::LONGEST_LINE, '…');
    }
}
