<?php

declare(strict_types=1);

namespace Standin;

/** The queue behind one transport: rows of messenger_messages. */
final class Queue
{
    private function __construct(private readonly Database $database, private readonly string $name)
    {
    }

    /** Without a queue of its own a transport does its work in the request: null. */
    public static function of(string $transport, Parameters $parameters, Database $database): ?self
    {
        $dsn = $parameters->get('messenger_dsn_'.$transport);
        if (!str_starts_with($dsn, 'doctrine://')) {
            return null;
        }
        parse_str((string) parse_url($dsn, PHP_URL_QUERY), $options);

        return new self($database, $options['queue_name'] ?? 'default');
    }

    public function put(string $body, string $headers = '[]'): void
    {
        $this->database->run(
            'INSERT INTO {messenger_messages} (body, headers, queue_name, created_at, available_at) VALUES (?, ?, ?, UTC_TIMESTAMP(), UTC_TIMESTAMP())',
            [$body, $headers, $this->name],
        );
    }

    /** Takes one message away, and puts it back under another id when it is tried and its body is "fails". */
    public function settle(int $id, bool $isTried): bool
    {
        $found = $this->database->run('SELECT body, headers FROM {messenger_messages} WHERE id = ? AND queue_name = ?', [$id, $this->name])->fetch();
        if (false === $found) {
            return false;
        }
        $this->database->run('DELETE FROM {messenger_messages} WHERE id = ?', [$id]);
        if ($isTried && 'fails' === $found['body']) {
            $this->put($found['body'], $found['headers']);
        }

        return true;
    }

    /** Takes one message and counts it as handled; false when there is none. */
    public function handleOne(): bool
    {
        return $this->database->transaction(function (): bool {
            $id = $this->database->value(
                'SELECT id FROM {messenger_messages} WHERE queue_name = ? AND delivered_at IS NULL AND available_at <= UTC_TIMESTAMP() ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED',
                [$this->name],
            );
            if (false === $id) {
                return false;
            }
            $this->database->run('DELETE FROM {messenger_messages} WHERE id = ?', [$id]);
            $this->database->count('handled '.$this->name);

            return true;
        });
    }
}
