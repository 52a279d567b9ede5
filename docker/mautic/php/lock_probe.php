<?php

declare(strict_types=1);

require_once '/opt/mautic/connections.php';
require_once '/opt/mautic/source.php';

/**
 * Measures how long readers and writers of a database have to wait while something else works on it.
 *
 * Two connections go round all tables, a rest after each round: one reads a row, the other locks one and
 * rolls back. What they have to wait for is what a visitor's request would have waited for. A lock that is
 * shorter than a round may be missed.
 */
final class LockProbe
{
    private const QUESTIONS = ['readers' => 'SELECT 1 FROM %s LIMIT 1', 'writers' => 'SELECT 1 FROM %s LIMIT 1 FOR UPDATE'];
    private const REST_SECONDS = 0.05;
    private const POLL_MICROSECONDS = 20_000;
    /** Beyond any migration: whoever gave up early would measure himself. */
    private const OPENING = ['SET SESSION innodb_lock_wait_timeout = 86400', 'SET SESSION lock_wait_timeout = 86400'];

    /** @var array<string, mysqli> by who they stand for */
    private array $links = [];
    /** @var list<string> */
    private array $tables = [];
    /** @var array<string, int> which table is next */
    private array $next = [];
    /** @var array<string, array{float, string}> when those that have no answer yet were asked, and for which table */
    private array $asked = [];
    /** @var array<string, float> when the next round begins */
    private array $restUntil = [];
    /** @var array<string, array{float, string}> the longest wait, and for which table */
    private array $longest = [];

    /** @param array<string, mixed> $parameters Mautic's parameters, as in local.php */
    public function __construct(#[SensitiveParameter] array $parameters)
    {
        foreach (array_keys(self::QUESTIONS) as $who) {
            $link = Connections::connect($parameters);
            $link->select_db($parameters['db_name']);
            array_map($link->query(...), self::OPENING);
            $link->autocommit('readers' === $who);
            $this->links[$who] = $link;
        }
    }

    /** @param list<string> $tables what to look at from now on */
    public function begin(array $tables): void
    {
        $this->tables = $tables;
        $this->next = array_fill_keys(array_keys($this->links), 0);
        $this->restUntil = array_fill_keys(array_keys($this->links), 0.0);
        $this->longest = array_fill_keys(array_keys($this->links), [0.0, '']);
    }

    /** Asks where nobody waits for an answer, and takes the answers that are there; sleeps a little where none is. */
    public function look(): void
    {
        foreach ($this->links as $who => $link) {
            if (!isset($this->asked[$who]) && [] !== $this->tables && microtime(true) >= $this->restUntil[$who]) {
                $table = $this->tables[$this->next[$who]];
                $this->asked[$who] = [microtime(true), $table];
                $link->query(sprintf(self::QUESTIONS[$who], Source::identifier($table)), MYSQLI_ASYNC);
            }
        }
        $read = $failed = $rejected = array_intersect_key($this->links, $this->asked);
        if ([] === $read) {
            usleep(self::POLL_MICROSECONDS);

            return;
        }
        // A signal interrupts it with a warning.
        if ((int) @mysqli_poll($read, $failed, $rejected, 0, self::POLL_MICROSECONDS) > 0) {
            array_map($this->take(...), $read);
        }
    }

    /**
     * Waits for the last answers.
     *
     * @return array{readers_seconds: float, readers_table: string, writers_seconds: float, writers_table: string}
     */
    public function end(): array
    {
        [$this->tables, $told] = [[], []];
        while ([] !== $this->asked) {
            $this->look();
        }
        foreach ($this->longest as $who => [$seconds, $table]) {
            $told["{$who}_seconds"] = round($seconds, 3);
            $told["{$who}_table"] = $table;
        }

        return $told;
    }

    private function take(mysqli $link): void
    {
        $who = (string) array_search($link, $this->links, true);
        [$since, $table] = $this->asked[$who];
        unset($this->asked[$who]);
        try {
            $answer = $link->reap_async_query();
            $answer instanceof mysqli_result && $answer->free();
            $link->rollback();
        } catch (mysqli_sql_exception) {
            // The table is gone, or is just being renamed: how long it took to learn that counts as well.
        }
        $seconds = microtime(true) - $since;
        if ($seconds > $this->longest[$who][0]) {
            $this->longest[$who] = [$seconds, $table];
        }
        $this->next[$who] = ($this->next[$who] + 1) % max(1, count($this->tables));
        if (0 === $this->next[$who]) {
            $this->restUntil[$who] = microtime(true) + self::REST_SECONDS;
        }
    }
}
