<?php

declare(strict_types=1);

require_once '/opt/mautic/waiting.php';
require_once '/opt/mautic/inserts.php';

/** Runs the statements of a dump or a seed, and no others, in the database that a connection uses. */
final class Loader
{
    private const REPORT_SECONDS = 15;
    /** What is committed at once: a disk is waited for with each. */
    private const TRANSACTION_BYTES = 16_777_216;
    /** What they hold; anything else was not written by this image. */
    private const ALLOWED = '/\A(?:CREATE TABLE|INSERT INTO) `(?:[^`]|``)+` \(/';

    public function __construct(private readonly PDO $server, private readonly Waiting $waiting)
    {
    }

    /**
     * @param iterable<string> $statements a line each
     *
     * @throws Stop when one is of another kind
     */
    public function run(iterable $statements): void
    {
        $opening = explode("\n", rtrim(Inserts::OPENING));
        $former = str_replace(' time_zone', ' unique_checks = 0, time_zone', $opening[1]);
        $reported = microtime(true);
        $bytes = $pending = 0;
        $this->server->exec('SET autocommit = 0');
        foreach ($statements as $statement) {
            if ($statement === $former) {
                // Dumps and seeds had it once; inserts.php says why it went.
                $statement = $opening[1];
            }
            if (!preg_match(self::ALLOWED, $statement) && !in_array($statement, $opening, true)) {
                throw new Stop('a statement is none of a dump, or of a seed: '.substr($statement, 0, 60), Stop::FAILED);
            }
            $this->server->exec($statement);
            $bytes += strlen($statement);
            $pending += strlen($statement);
            if ($pending > self::TRANSACTION_BYTES) {
                $this->server->exec('COMMIT');
                $pending = 0;
            }
            if (microtime(true) - $reported >= self::REPORT_SECONDS) {
                $reported = microtime(true);
                $this->waiting->say(sprintf('%d MB of SQL so far', $bytes / 1e6));
            }
        }
        $this->server->exec('COMMIT');
        $this->server->exec('SET autocommit = 1');
    }
}
