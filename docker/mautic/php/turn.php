<?php

declare(strict_types=1);

require_once '/opt/mautic/waiting.php';

/**
 * A turn on a server that many branches share: more copies at once than its disk and memory can take would
 * make each of them many times slower.
 */
final class Turn
{
    private const AT_ONCE = 2;
    private const REPORT_SECONDS = 15;
    /** It is for speed alone: after this time one goes on without. */
    private const MOST_SECONDS = 3600;

    private string $name = '';

    /** @param PDO $server holds the turn to its end; a server frees what a killed run has held */
    public function __construct(private readonly PDO $server, private readonly Waiting $waiting)
    {
    }

    /** @throws Stop when a signal has asked for it */
    public function take(): void
    {
        $started = $said = microtime(true) - self::REPORT_SECONDS;
        while (!$this->tryAll() && microtime(true) - $started < self::MOST_SECONDS) {
            if (microtime(true) - $said >= self::REPORT_SECONDS) {
                $said = microtime(true);
                $this->waiting->say(self::AT_ONCE.' others are being copied on this server; waiting for a turn');
            }
            $this->waiting->pause();
        }
    }

    public function release(): void
    {
        $this->server->query('SELECT RELEASE_LOCK('.$this->server->quote($this->name).')')->fetchColumn();
    }

    private function tryAll(): bool
    {
        for ($i = 0; $i < self::AT_ONCE; ++$i) {
            $this->name = "mautic-clone:{$i}";
            if (1 === (int) $this->server->query('SELECT GET_LOCK('.$this->server->quote($this->name).', 0)')->fetchColumn()) {
                return true;
            }
        }

        return false;
    }
}
