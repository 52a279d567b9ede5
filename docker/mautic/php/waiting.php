<?php

declare(strict_types=1);

require_once '/opt/mautic/environment.php';

/** A program of the image cannot go on; the code is its exit status, the reason a word for machines. */
final class Stop extends RuntimeException
{
    public const FAILED = 1;
    public const USAGE = 64;
    public const HAS_CONTENT = 65;
    /** Waited in vain: worth another try. */
    public const IN_VAIN = 75;
    /** Whoever sends or reads at the other end has ended early: that one knows why. */
    public const CUT_OFF = 76;
    /** Refused: another try would be refused as well. */
    public const REFUSED = 77;
    public const WRONG_SETTING = 78;
    public const SIGNALLED = 143;

    public function __construct(string $message, int $code, public readonly string $reason = '')
    {
        parent::__construct($message, $code);
    }
}

/** Why a database server cannot be used, from what its driver says. */
final class Obstacle
{
    public const UNKNOWN_HOST = 'database-unknown-host';
    public const REFUSED = 'database-refused';
    public const UNREACHABLE = 'database-unreachable';
    public const ACCESS_DENIED = 'database-access-denied';
    public const UNKNOWN = 'database-unknown';
    public const TLS = 'database-tls';
    public const TOO_MANY_CONNECTIONS = 'database-too-many-connections';
    public const STARTING = 'database-starting';

    /** What no waiting helps against. */
    private const PERMANENT = [self::ACCESS_DENIED, self::UNKNOWN, self::TLS];
    /** https://dev.mysql.com/doc/mysql-errors/8.4/en/ and, from 9000, Amazon RDS. */
    private const ERRORS = [
        1040 => self::TOO_MANY_CONNECTIONS,
        1203 => self::TOO_MANY_CONNECTIONS,
        1226 => self::TOO_MANY_CONNECTIONS,
        1044 => self::ACCESS_DENIED,
        1045 => self::ACCESS_DENIED,
        1130 => self::ACCESS_DENIED,
        1251 => self::ACCESS_DENIED,
        1698 => self::ACCESS_DENIED,
        1862 => self::ACCESS_DENIED,
        2054 => self::ACCESS_DENIED,
        3118 => self::ACCESS_DENIED,
        1049 => self::UNKNOWN,
        2026 => self::TLS,
        3159 => self::TLS,
        9002 => self::TLS,
    ];
    /** The client's own "cannot connect"; only its text says why. */
    private const NO_CONNECTION = [2002, 2003, 2005];
    /** The server stops, or has closed the connection. */
    private const GONE = [1053, 1927, 2006, 2013, 4031];

    public static function of(PDOException $error): string
    {
        $number = (int) ($error->errorInfo[1] ?? $error->getCode());
        $text = $error->getMessage();

        return match (true) {
            isset(self::ERRORS[$number]) => self::ERRORS[$number],
            // First: the message holds the host's name, which may be "tls.example.com".
            str_contains($text, 'getaddrinfo') => self::UNKNOWN_HOST,
            (bool) preg_match('/certificate|\bSSL\b|\bTLS\b/i', $text) => self::TLS,
            !in_array($number, self::NO_CONNECTION, true) => self::STARTING,
            (bool) preg_match('/refused|No such file/', $text) => self::REFUSED,
            default => self::UNREACHABLE,
        };
    }

    /** As of(), in the middle of the work: empty where a statement failed, and not the connection. */
    public static function ofWork(PDOException $error): string
    {
        $number = (int) ($error->errorInfo[1] ?? $error->getCode());

        return isset(self::ERRORS[$number]) || in_array($number, [...self::NO_CONNECTION, ...self::GONE], true) ? self::of($error) : '';
    }

    public static function isPermanent(string $reason): bool
    {
        return in_array($reason, self::PERMANENT, true);
    }
}

/**
 * Waits for something and says so: at once, when the reason changes, and every now and then.
 *
 *   NAME: waiting [REASON]: SENTENCE
 */
final class Waiting
{
    private const REPORT_SECONDS = 15;
    private const FIRST_PAUSE_SECONDS = 0.5;
    private const LONGEST_PAUSE_SECONDS = 1.0;
    private const PAUSE_GROWTH = 1.3;
    /** How long a name may be unknown that no part of this release is about to bring. */
    private const UNKNOWN_HOST_SECONDS = 2;

    /** Says that stdin is held open for as long as somebody wants what is done here. */
    public const HELD = 'MAUTIC_STDIN_HELD';

    private bool $stopping = false;
    private bool $isHeld = false;
    private float $pause = self::FIRST_PAUSE_SECONDS;
    private string $said = '';
    private float $saidAt = 0;
    private ?float $unknownSince = null;

    public function __construct(private readonly string $name)
    {
        pcntl_async_signals(true);
        pcntl_signal(SIGTERM, function (): void { $this->stopping = true; });
    }

    /**
     * Lets the end of stdin stop this program as a signal does, where it is said that stdin is held.
     *
     * To be called once all that has to be read from there was read. Whoever started the program is killed or
     * loses the connection without being able to send a signal into the container, and this tells of it.
     */
    public function heed(): void
    {
        $this->isHeld = '1' === getenv(self::HELD);
    }

    public function isStopping(): bool
    {
        return $this->stopping = $this->stopping || ($this->isHeld && self::isLetGo());
    }

    /** @throws Stop when a signal has asked for it, or nobody holds stdin any more */
    public function breakOnSignal(): void
    {
        if ($this->isStopping()) {
            throw new Stop('stopped before it was done', Stop::SIGNALLED);
        }
    }

    public function say(string $message): void
    {
        fwrite(STDERR, "{$this->name}: {$message}\n");
    }

    public function on(string $reason, string $sentence): void
    {
        $line = "waiting [{$reason}]: {$sentence}";
        if ($line === $this->said && microtime(true) - $this->saidAt < self::REPORT_SECONDS) {
            return;
        }
        if ($line !== $this->said) {
            // Something moves: it may be over soon.
            $this->pause = self::FIRST_PAUSE_SECONDS;
        }
        $this->said = $line;
        $this->saidAt = microtime(true);
        $this->say($line);
    }

    /** Sleeps a little longer each time. */
    public function pause(): void
    {
        usleep((int) ($this->pause * 1e6));
        $this->pause = min(self::LONGEST_PAUSE_SECONDS, $this->pause * self::PAUSE_GROWTH);
        $this->breakOnSignal();
    }

    /**
     * Connects to Mautic's own database.
     *
     * @param array<string, mixed> $parameters Mautic's parameters, as in local.php
     *
     * @throws Stop as connect() does
     */
    public function connectAs(array $parameters, float $deadline): PDO
    {
        ['db_host' => $host, 'db_port' => $port, 'db_name' => $name, 'db_user' => $user, 'db_password' => $password] = $parameters;

        return $this->connect($host, (int) $port, $name, $user, $password, $deadline);
    }

    /**
     * Connects to a server as soon as it can be; says what it waits for.
     *
     * @param string $database its name, or an empty string for none
     * @param float  $deadline when to give up, as microtime(true)
     *
     * @throws Stop when it cannot be, will not be, or has not been in time
     */
    public function connect(string $host, int $port, string $database, string $user, string $password, float $deadline): PDO
    {
        $what = '' === $database ? "{$host}:{$port}" : "the database {$database} on {$host}:{$port}";
        $dsn = "mysql:host={$host};port={$port};charset=utf8mb4".('' === $database ? '' : ";dbname={$database}");
        $started = microtime(true);
        while (true) {
            try {
                // The driver's warnings say less than its exception.
                $connection = @new PDO($dsn, $user, $password, [PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION, PDO::ATTR_TIMEOUT => 5] + MauticEnvironment::databaseOptions());
                $this->unknownSince = null;

                return $connection;
            } catch (PDOException $e) {
                $this->breakOnSignal();
                $reason = Obstacle::of($e);
                $sentence = "{$what}, as {$user}: {$e->getMessage()}";
                if (Obstacle::TLS === $reason && null !== $why = $e->getPrevious()?->getMessage()) {
                    // OpenSSL's words; the driver's own say only that there is no TLS.
                    $sentence .= ' ('.preg_replace(['/^PDO::__construct\(\): /', '/\s+/'], ['', ' '], $why).')';
                }
                if (Obstacle::isPermanent($reason) || $this->isUnknownForGood($reason, $e)) {
                    throw new Stop($sentence, Stop::REFUSED, $reason);
                }
                if (microtime(true) >= $deadline) {
                    throw new Stop(sprintf('%s (after %d s)', $sentence, round(microtime(true) - $started)), Stop::IN_VAIN, $reason);
                }
                $this->on($reason, $sentence);
                $this->pause();
            }
        }
    }

    private static function isLetGo(): bool
    {
        [$read, $none] = [[STDIN], []];

        // A signal interrupts it with a warning.
        return 1 === (int) @stream_select($read, $none, $none, 0) && '' === (string) fread(STDIN, 1) && feof(STDIN);
    }

    /** A name server that does not answer is no answer; a database of the release's own gets its name when it starts. */
    private function isUnknownForGood(string $reason, PDOException $error): bool
    {
        if (Obstacle::UNKNOWN_HOST !== $reason || str_contains($error->getMessage(), 'Temporary failure') || '1' === MauticEnvironment::get('MAUTIC_DB_OWN')) {
            $this->unknownSince = null;

            return false;
        }
        $this->unknownSince ??= microtime(true);

        return microtime(true) - $this->unknownSince >= self::UNKNOWN_HOST_SECONDS;
    }
}

/**
 * Mautic's parameters as Mautic has them, whatever gave them.
 *
 * @return array<string, mixed>
 */
function mauticParameters(): array
{
    include '/var/www/html/config/local.php';

    return $parameters;
}

/** Runs a program of the image to its end; what stops it is said and becomes the exit status. */
function runOrExit(string $name, Closure $program): void
{
    $exit = static function (string $message, int $status, string $reason = '') use ($name): never {
        fwrite(STDERR, "{$name}: ".('' === $reason ? '' : "failed [{$reason}]: ")."{$message}\n");
        exit($status);
    };
    try {
        $program();
    } catch (Stop $e) {
        $exit($e->getMessage(), $e->getCode(), $e->reason);
    } catch (PDOException $e) {
        // In the middle of the work: a statement failed, or the server is gone.
        $exit("the database failed: {$e->getMessage()}", Stop::FAILED, Obstacle::ofWork($e));
    }
}
