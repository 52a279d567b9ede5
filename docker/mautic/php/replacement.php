<?php

declare(strict_types=1);

require_once '/opt/mautic/waiting.php';
require_once '/opt/mautic/uploads_swap.php';

/**
 * What else belongs to tables that take the place of a branch's own, so that all of it changes in one step.
 *
 *   $replacement = Replacement::of($words, $waiting);
 *   $replacement->prepare($database);             in the database beside the branch's own
 *   $swap->finish(with: $replacement);            which calls finish(); nothing stops it any more
 *
 * The words: `migrate`, the tables are migrated to this release first, or, where there are none, Mautic is
 * installed; `uploads`, those that were staged (uploads.php stage) take the place of what is there.
 */
final class Replacement
{
    private const WORDS = ['migrate', 'uploads'];
    private const POLL_MICROSECONDS = 200_000;

    private readonly UploadsSwap $uploads;

    /** @param list<string> $words */
    private function __construct(private array $words, private readonly Waiting $waiting)
    {
        $this->uploads = new UploadsSwap();
    }

    /**
     * @param list<string> $words
     *
     * @throws Stop when there is another one among them
     */
    public static function of(array $words, Waiting $waiting): self
    {
        if ([] !== array_diff($words, self::WORDS)) {
            throw new Stop('after the verb say migrate, uploads, or both', Stop::USAGE);
        }

        return new self($words, $waiting);
    }

    /** @throws Stop when it failed, or was stopped; then what is staged of uploads is gone */
    public function prepare(string $database): void
    {
        try {
            if ($this->has('migrate')) {
                $this->migrate($database);
            }
            if ($this->has('uploads')) {
                $this->uploads->require();
            }
            $this->waiting->breakOnSignal();
        } catch (Stop $e) {
            $this->discard();
            throw $e;
        }
    }

    /** Moves uploads into their place, the tables being in theirs. */
    public function finish(): void
    {
        if ($this->has('uploads')) {
            // Half of them may be in place already, and are no stage any more that could be removed.
            $this->words = [];
            $this->uploads->finish();
            $this->waiting->say('the files are in place');
        }
    }

    /** Removes what is staged of uploads, where it will not be used. */
    public function discard(): void
    {
        if ($this->has('uploads')) {
            $this->uploads->discard();
        }
    }

    private function has(string $word): bool
    {
        return in_array($word, $this->words, true);
    }

    /** Runs migrate.php on another database than the branch's; a snapshot is not for what nobody uses yet. */
    private function migrate(string $database): void
    {
        $process = proc_open(
            [PHP_BINARY, '/opt/mautic/migrate.php'],
            [['pipe', 'r'], STDERR, ['pipe', 'w']],
            $pipes,
            null,
            ['MAUTIC_SNAPSHOTS' => '0', 'MAUTIC_SEED' => '', Waiting::HELD => '1'] + MauticEnvironment::forDatabase($database),
        );
        if (false === $process) {
            throw new Stop('the migration could not be started; nothing was changed', Stop::FAILED);
        }
        [0 => $held, 2 => $lines] = $pipes;
        $last = $this->listen($lines, $held);
        $status = proc_close($process);
        $this->waiting->breakOnSignal();
        if (0 !== $status) {
            throw new Stop(preg_replace('/^migrate: (?:failed \[[^]]*\]: )?/', '', $last)."; nothing was changed (migrate ended with status {$status})", Stop::FAILED);
        }
    }

    /**
     * Passes on what a program says until it has ended; lets go of it when this one is to stop.
     *
     * @param resource $lines its stderr
     * @param resource $held  its stdin
     *
     * @return string the last line
     */
    private function listen($lines, $held): string
    {
        stream_set_blocking($lines, false);
        $pending = $last = '';
        while (!feof($lines)) {
            if (is_resource($held) && $this->waiting->isStopping()) {
                fclose($held);
            }
            [$read, $none] = [[$lines], []];
            // A signal interrupts it with a warning.
            @stream_select($read, $none, $none, 0, self::POLL_MICROSECONDS);
            $all = explode("\n", $pending.stream_get_contents($lines));
            $pending = array_pop($all);
            foreach ($all as $line) {
                fwrite(STDERR, "{$line}\n");
                $last = '' === trim($line) ? $last : $line;
            }
        }
        if (is_resource($held)) {
            fclose($held);
        }

        return '' === $pending ? $last : $pending;
    }
}
