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

    private function __construct(public readonly int $status, public readonly float $seconds, public readonly string $output)
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
            [['file', '/dev/null', 'r'], ['pipe', 'w'], ['redirect', 1]],
            $pipes,
            self::PROJECT,
        );
        if (false === $process) {
            throw new Stop("{$arguments[0]} could not be started", Stop::FAILED);
        }
        stream_set_blocking($pipes[1], false);
        $output = '';
        $killAt = $ended = null;
        while (($status = proc_get_status($process))['running']) {
            $output = substr($output.stream_get_contents($pipes[1]), -self::KEPT_BYTES);
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
        $output = substr($output.stream_get_contents($pipes[1]), -self::KEPT_BYTES);

        return new self($ended ?? ($status['signaled'] ? 128 + $status['termsig'] : $status['exitcode']), microtime(true) - $started, $output);
    }

    /** The line that says why it failed; empty when it did not. */
    public function error(): string
    {
        if (0 === $this->status) {
            return '';
        }
        // Colours and frames say nothing.
        $lines = array_values(array_filter(array_map('trim', explode("\n", preg_replace('/\e\[[0-9;]*m/', '', $this->output))), 'strlen'));
        // Symfony says where an exception is from, and on the next line what it says.
        foreach ($lines as $number => $line) {
            if (preg_match('/^In \S+ line \d+:$/', $line) && isset($lines[$number + 1])) {
                return self::short($lines[$number + 1]);
            }
        }
        $told = preg_grep('/error|exception|fail|denied/i', $lines) ?: $lines;

        return self::short(self::TIMED_OUT === $this->status ? 'it took too long, and was ended' : (reset($told) ?: "exit status {$this->status}"));
    }

    private static function short(string $line): string
    {
        return mb_strimwidth($line, 0, self::LONGEST_LINE, '…');
    }
}
