<?php

declare(strict_types=1);

/**
 * Tells what is in the queues of messages, as JSON; changes nothing, and does not start Mautic.
 *
 *   queues   for each of email, hit and failed: how many messages wait, how many a worker has taken, and
 *            since when the oldest is there; null where the queue is not in the database
 *   failed   the messages that failed, the newest first: id, class, when, and the error
 *
 * They are retried and removed by Mautic's own messenger:failed:retry and messenger:failed:remove.
 *
 * Environment: MAUTIC_DB_*, MAUTIC_MESSENGER_DSN_*; MAUTIC_DB_WAIT in seconds.
 *
 * Exit status: 0 done, 1 a statement failed, 75 no database in time, 77 the database refuses us, 143
 * stopped by a signal.
 */
require_once '/opt/mautic/waiting.php';

use Symfony\Component\Messenger\Stamp\ErrorDetailsStamp;
use Symfony\Component\Messenger\Transport\Serialization\PhpSerializer;

/** One queue in the database, of those that Symfony's Doctrine transport keeps. */
final class DatabaseQueue
{
    private const MOST = 200;
    /** On MySQL what is done with keeps its row, marked by this, until a worker looks for messages again. */
    private const DONE = '9999-12-31 23:59:59';

    private function __construct(private readonly PDO $database, private readonly string $table, private readonly string $name)
    {
    }

    /**
     * @param string $dsn    of the transport
     * @param string $prefix of Mautic's tables
     *
     * @return self|null null when the transport is no queue in the database
     */
    public static function of(string $dsn, PDO $database, string $prefix): ?self
    {
        if (!str_starts_with($dsn, 'doctrine://')) {
            return null;
        }
        parse_str((parse_url($dsn) ?: [])['query'] ?? '', $options);
        $table = $options['table_name'] ?? 'messenger_messages';
        $exists = $database->prepare('SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name IN (?, ?) ORDER BY table_name = ? DESC');
        $exists->execute([$table, $prefix.$table, $table]);

        // It is made by the first message.
        return new self($database, (string) $exists->fetchColumn(), $options['queue_name'] ?? 'default');
    }

    /** @return array{waiting: int, taken: int, since: string|null} */
    public function counts(): array
    {
        if ('' === $this->table) {
            return ['waiting' => 0, 'taken' => 0, 'since' => null];
        }
        [$waiting, $taken, $since] = $this->select('COUNT(*) - COUNT(delivered_at), COUNT(delivered_at), MIN(created_at)')->fetch(PDO::FETCH_NUM);

        return ['waiting' => (int) $waiting, 'taken' => (int) $taken, 'since' => self::time($since)];
    }

    /** @return list<array{id: string, class: string, since: string|null, error: string}> */
    public function messages(): array
    {
        $messages = [];
        foreach ('' === $this->table ? [] : $this->select('id, body, headers, created_at', 'ORDER BY id DESC LIMIT '.self::MOST) as $row) {
            $messages[] = ['id' => (string) $row['id'], ...self::read($row['body'], json_decode($row['headers'], true) ?: []), 'since' => self::time($row['created_at'])];
        }

        return $messages;
    }

    private function select(string $what, string $end = ''): PDOStatement
    {
        $found = $this->database->prepare("SELECT {$what} FROM `{$this->table}` WHERE queue_name = ? AND (delivered_at IS NULL OR delivered_at < ?) {$end}");
        $found->execute([$this->name, self::DONE]);

        return $found;
    }

    /**
     * @param array<string, string> $headers
     *
     * @return array{class: string, error: string}
     */
    private static function read(string $body, array $headers): array
    {
        $stamp = 'Symfony\Component\Messenger\Stamp\ErrorDetailsStamp';
        if (isset($headers['type'])) {
            // Written as JSON.
            $details = json_decode($headers["X-Message-Stamp-{$stamp}"] ?? '', true) ?: [];
            $last = end($details) ?: [];

            return ['class' => $headers['type'], 'error' => $last['exceptionMessage'] ?? ''];
        }
        try {
            $envelope = (new PhpSerializer())->decode(['body' => $body, 'headers' => $headers]);

            return ['class' => get_class($envelope->getMessage()), 'error' => (string) $envelope->last(ErrorDetailsStamp::class)?->getExceptionMessage()];
        } catch (Throwable $e) {
            return ['class' => '', 'error' => "it cannot be read: {$e->getMessage()}"];
        }
    }

    /** Mautic's times are UTC. */
    private static function time(?string $time): ?string
    {
        return null === $time ? null : (new DateTimeImmutable($time, new DateTimeZone('UTC')))->format(DATE_ATOM);
    }
}

runOrExit('queue', static function (): void {
    if (is_file('/var/www/html/vendor/autoload.php')) {
        require '/var/www/html/vendor/autoload.php';
    }
    $parameters = mauticParameters();
    $deadline = microtime(true) + (int) MauticEnvironment::get('MAUTIC_DB_WAIT', '60');
    $database = (new Waiting('queue'))->connectAs($parameters, $deadline);
    $queues = [];
    foreach (['email', 'hit', 'failed'] as $name) {
        $queues[$name] = DatabaseQueue::of((string) $parameters["messenger_dsn_{$name}"], $database, (string) $parameters['db_table_prefix']);
    }
    echo json_encode([
        'queues' => array_map(static fn (?DatabaseQueue $queue): ?array => $queue?->counts(), $queues),
        'failed' => $queues['failed']?->messages() ?? [],
    ], JSON_THROW_ON_ERROR | JSON_UNESCAPED_SLASHES | JSON_INVALID_UTF8_SUBSTITUTE), "\n";
});
