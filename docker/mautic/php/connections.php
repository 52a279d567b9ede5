<?php

declare(strict_types=1);

require_once '/opt/mautic/waiting.php';

/** Several connections of a branch's own user, for statements that run at the same time. */
final class Connections
{
    /** Others use the server, too: with fewer connections it takes longer, and that is all. */
    private const NONE_LEFT = [1040, 1203, 1226];
    /** A table whose keys are made locks those that refer to it, which may be filled meanwhile: one of the two is ended. */
    private const DEADLOCK = 1213;
    private const LOCK_TIMEOUT = 1205;
    /** How often a statement is begun that ends like that; each time another one has come further. */
    private const ATTEMPTS = 100;
    private const REPORT_SECONDS = 15;
    private const POLL_SECONDS = 1;

    /** @var array<int, mysqli> by the server's number of the connection */
    private array $links = [];

    /**
     * @param array<string, mixed> $parameters Mautic's parameters, as in local.php
     * @param list<string>         $opening    statements that each connection begins with
     * @param int                  $most       how many there may be
     *
     * @throws Stop when there is not even one
     */
    public function __construct(#[SensitiveParameter] array $parameters, array $opening, int $most, private readonly Waiting $waiting)
    {
        while (count($this->links) < $most) {
            try {
                $link = self::connect($parameters);
            } catch (mysqli_sql_exception $e) {
                if ([] !== $this->links && in_array($e->getCode(), self::NONE_LEFT, true)) {
                    break;
                }
                throw new Stop("no connection for copying: {$e->getMessage()}", Stop::IN_VAIN, Obstacle::UNREACHABLE);
            }
            $this->links[$link->thread_id] = $link;
            array_walk($opening, static fn (string $statement) => $link->query($statement));
        }
    }

    /**
     * Runs statements that return no rows, as many at a time as there are connections.
     *
     * Whatever ends it early ends the statements that are under way as well.
     *
     * @param list<non-empty-list<string>> $tables statements, by table; the tables are begun in this order, and
     *                                             what one table gets runs one after the other. A statement leaves
     *                                             nothing where it fails: after a deadlock it is begun again
     * @param PDO                          $server a connection of the same user
     *
     * @throws Stop when one of them fails, or when a signal has asked for it
     */
    public function run(array $tables, PDO $server): void
    {
        $all = count($tables);
        $idle = $this->links;
        $next = $attempts = [];
        $reported = microtime(true);
        try {
            while ([] !== $tables || count($idle) < count($this->links)) {
                while ([] !== $tables && null !== $link = array_pop($idle)) {
                    $next[$link->thread_id] = array_shift($tables);
                    $attempts[$link->thread_id] = 0;
                    $link->query($next[$link->thread_id][0], MYSQLI_ASYNC);
                }
                foreach ($this->ready(array_diff_key($this->links, $idle)) as $link) {
                    $number = $link->thread_id;
                    if (self::hasEnded($link, ++$attempts[$number])) {
                        array_shift($next[$number]);
                        $attempts[$number] = 0;
                    }
                    if ([] === $next[$number]) {
                        $idle[$number] = $link;
                    } else {
                        $link->query($next[$number][0], MYSQLI_ASYNC);
                    }
                }
                $this->waiting->breakOnSignal();
                if (microtime(true) - $reported >= self::REPORT_SECONDS) {
                    $reported = microtime(true);
                    $this->waiting->say(sprintf('%d of %d tables are begun', $all - count($tables), $all));
                }
            }
        } catch (mysqli_sql_exception $e) {
            throw self::LOCK_TIMEOUT === $e->getCode() ? new Stop('a table is being changed by somebody else', Stop::IN_VAIN, 'database-in-use') : new Stop("the database failed: {$e->getMessage()}", Stop::FAILED);
        } finally {
            self::end($server, array_keys(array_diff_key($this->links, $idle)));
        }
    }

    /**
     * Ends connections of the same user, and with them what runs there.
     *
     * @param list<int> $numbers
     */
    public static function end(PDO $server, array $numbers): void
    {
        foreach ($numbers as $number) {
            try {
                $server->exec("KILL {$number}");
            } catch (PDOException $e) {
                // It has ended by itself.
                if (1094 !== $e->errorInfo[1]) {
                    throw $e;
                }
            }
        }
    }

    /** @return bool false where it has to be begun again */
    private static function hasEnded(mysqli $link, int $attempt): bool
    {
        try {
            $link->reap_async_query();
        } catch (mysqli_sql_exception $e) {
            if (self::DEADLOCK !== $e->getCode() || $attempt >= self::ATTEMPTS) {
                throw $e;
            }

            return false;
        }

        return true;
    }

    /**
     * Waits until one of the connections has an answer, or a second.
     *
     * @param array<int, mysqli> $busy
     *
     * @return array<int, mysqli>
     */
    private function ready(array $busy): array
    {
        $read = $failed = $rejected = $busy;
        // A signal interrupts it with a warning.
        return (int) @mysqli_poll($read, $failed, $rejected, self::POLL_SECONDS) > 0 ? $read : [];
    }

    /**
     * Opens one; its errors are exceptions.
     *
     * @param array<string, mixed> $parameters Mautic's parameters, as in local.php
     */
    public static function connect(#[SensitiveParameter] array $parameters): mysqli
    {
        $link = mysqli_init();
        $authorities = (string) getenv('MAUTIC_DB_TLS_CA_FILE');
        if ('' !== $authorities) {
            $link->ssl_set(null, null, $authorities, null, null);
            $link->options(MYSQLI_OPT_SSL_VERIFY_SERVER_CERT, true);
        }
        // The driver's warnings say less than its exception.
        @$link->real_connect($parameters['db_host'], $parameters['db_user'], $parameters['db_password'], '', (int) $parameters['db_port'], null, '' === $authorities ? 0 : MYSQLI_CLIENT_SSL);

        return $link;
    }
}
