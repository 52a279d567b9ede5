<?php

declare(strict_types=1);

require_once '/opt/mautic/waiting.php';

/**
 * The way of a branch's data into another branch's container, past whoever has started the programs at both ends.
 *
 * The one that takes it (Taker) listens, the one that gives it (Giver) connects. Both are told a key on stdin, which
 * is drawn for this one time. What is sent is
 *
 *   24 bytes of libsodium's secretstream header, then frames: 4 bytes with the length of what follows, and that,
 *   encrypted (XChaCha20-Poly1305). The first is empty, and proves that the key is known; the last says that it is
 *
 * Nothing is sent the other way. What was changed, moved or left out is noticed, and so is an end that was cut off.
 */
final class Handover
{
    public const FRAME_BYTES = 65_536;
    public const HEADER_BYTES = SODIUM_CRYPTO_SECRETSTREAM_XCHACHA20POLY1305_HEADERBYTES;
    public const TAG_BYTES = SODIUM_CRYPTO_SECRETSTREAM_XCHACHA20POLY1305_ABYTES;
    public const LAST = SODIUM_CRYPTO_SECRETSTREAM_XCHACHA20POLY1305_TAG_FINAL;
    public const LENGTH_BYTES = 4;
    public const POLL_MICROSECONDS = 200_000;

    /** @param list<string> $addresses where the one that takes it listens; the one that gives it is told */
    private function __construct(
        public readonly string $key,
        public readonly int $port,
        public readonly int $seconds,
        public readonly array $addresses,
    ) {
    }

    /** @param string $line JSON: key, port, for how many seconds to wait for each other, and for the one that gives addresses */
    public static function fromInput(#[SensitiveParameter] string $line): self
    {
        $given = json_decode($line, true, 3);
        $key = is_string($given['key'] ?? null) && preg_match('/\A[0-9a-f]{64}\z/', $given['key']) ? sodium_hex2bin($given['key']) : null;
        $addresses = $given['addresses'] ?? [];
        if (null === $key || !is_int($given['port'] ?? null) || !is_int($given['seconds'] ?? null) || !is_array($addresses) || $addresses !== array_filter($addresses, is_string(...))) {
            throw new Stop('stdin must be a line of JSON: key, port, seconds, addresses', Stop::WRONG_SETTING);
        }

        return new self($key, $given['port'], $given['seconds'], array_values($addresses));
    }
}

/**
 * Takes what another container gives.
 *
 * stdout says by a line of JSON where it listens, {"listening": ["ADDRESS", …]}, and by a second one that the other has
 * come, {"connected": "ADDRESS"}: whoever does not prove at once that the key is known is sent away, and does not count.
 */
final class Taker
{
    /** How long whoever connects may take to show that the key is known. */
    private const PROOF_SECONDS = 5;
    private const REPORT_SECONDS = 5;

    private string $state;
    /** @var resource */
    private $socket;

    public function __construct(private readonly Handover $handover, private readonly Waiting $waiting)
    {
    }

    /**
     * @return Generator<string> what was given; it is all of it only with the last part
     *
     * @throws Stop when nobody comes, or what comes ends early
     */
    public function parts(): Generator
    {
        $this->accept();
        [$bytes, $reported] = [0, microtime(true)];
        do {
            [$part, $tag] = $this->frame(INF) ?? throw new Stop('what the other container sends has ended early; nothing was changed', Stop::CUT_OFF);
            $bytes += strlen($part);
            if (microtime(true) - $reported >= self::REPORT_SECONDS) {
                $reported = microtime(true);
                $this->waiting->say(sprintf('%.1f MB have come', $bytes / 1e6));
            }
            yield $part;
        } while (Handover::LAST !== $tag);
    }

    private function accept(): void
    {
        $port = $this->handover->port;
        // The former takes IPv4 as well; it fails where the kernel has no IPv6.
        $server = @stream_socket_server("tcp://[::]:{$port}") ?: @stream_socket_server("tcp://0.0.0.0:{$port}", $number, $why)
            ?: throw new Stop("port {$port} cannot be listened on: {$why}", Stop::FAILED);
        self::tell(['listening' => self::addresses()]);
        for ($until = microtime(true) + $this->handover->seconds; microtime(true) < $until;) {
            $this->waiting->breakOnSignal();
            $this->socket = self::isReady($server) ? @stream_socket_accept($server, 0, $peer) : false;
            if (false === $this->socket) {
                continue;
            }
            stream_set_blocking($this->socket, false);
            if ($this->isProven()) {
                self::tell(['connected' => $peer]);

                return;
            }
            fclose($this->socket);
            $this->waiting->say("{$peer} does not know the key, and was sent away");
        }
        throw new Stop("the other container has not come in {$this->handover->seconds} s; nothing was changed", Stop::IN_VAIN);
    }

    private function isProven(): bool
    {
        $deadline = microtime(true) + self::PROOF_SECONDS;
        $header = $this->read(Handover::HEADER_BYTES, $deadline);
        if (Handover::HEADER_BYTES !== strlen($header)) {
            return false;
        }
        $this->state = sodium_crypto_secretstream_xchacha20poly1305_init_pull($header, $this->handover->key);

        return '' === ($this->frame($deadline)[0] ?? null);
    }

    /** @return array{string, int}|null what is in the next frame, and its tag; null where none has come that is right */
    private function frame(float $deadline): ?array
    {
        $length = unpack('N', str_pad($this->read(Handover::LENGTH_BYTES, $deadline), Handover::LENGTH_BYTES, "\0"))[1];
        if ($length < Handover::TAG_BYTES || $length > Handover::FRAME_BYTES + Handover::TAG_BYTES) {
            return null;
        }

        return sodium_crypto_secretstream_xchacha20poly1305_pull($this->state, $this->read($length, $deadline)) ?: null;
    }

    /** @return string fewer bytes where the other has ended, or the deadline is over */
    private function read(int $size, float $deadline): string
    {
        for ($bytes = ''; strlen($bytes) < $size && microtime(true) < $deadline; $bytes .= $part) {
            $this->waiting->breakOnSignal();
            $part = self::isReady($this->socket) ? (string) @fread($this->socket, $size - strlen($bytes)) : '';
            if ('' === $part && feof($this->socket)) {
                break;
            }
        }

        return $bytes;
    }

    /** @param resource $stream */
    private static function isReady($stream): bool
    {
        [$read, $none] = [[$stream], []];

        // A signal interrupts it with a warning.
        return 1 === (int) @stream_select($read, $none, $none, 0, Handover::POLL_MICROSECONDS);
    }

    /** @return list<string> this container's, but for those that nobody else reaches */
    private static function addresses(): array
    {
        $all = array_column(array_merge(...array_column(net_get_interfaces(), 'unicast')), 'address');

        return array_values(array_filter($all, static fn (string $each): bool => !preg_match('/\A(?:127\.|::1\z|fe80:)/', $each)));
    }

    /** @param array<string, mixed> $line */
    private static function tell(array $line): void
    {
        fwrite(STDOUT, json_encode($line, JSON_THROW_ON_ERROR)."\n");
    }
}

/** Gives another container what is written to it. */
final class Giver
{
    /** How long an address may take to answer: the one that takes it may be reachable by one of them alone. */
    private const ATTEMPT_SECONDS = 1;

    private string $state;
    private string $pending = '';
    /** @var resource|null */
    private $socket;

    public function __construct(private readonly Handover $handover, private readonly Waiting $waiting)
    {
    }

    /** @throws Stop when the other cannot be reached, or reads no more */
    public function write(string $bytes): void
    {
        $this->pending .= $bytes;
        for ($at = 0; strlen($this->pending) - $at > Handover::FRAME_BYTES; $at += Handover::FRAME_BYTES) {
            $this->frame(substr($this->pending, $at, Handover::FRAME_BYTES));
        }
        $this->pending = substr($this->pending, $at);
    }

    /** That was all. */
    public function finish(): void
    {
        $this->frame($this->pending, Handover::LAST);
        fclose($this->socket);
    }

    private function frame(string $bytes, int $tag = 0): void
    {
        if (null === $this->socket) {
            $this->socket = $this->connect();
            stream_set_blocking($this->socket, false);
            [$this->state, $header] = sodium_crypto_secretstream_xchacha20poly1305_init_push($this->handover->key);
            $this->send($header);
            $this->frame('');
        }
        $sealed = sodium_crypto_secretstream_xchacha20poly1305_push($this->state, $bytes, '', $tag);
        $this->send(pack('N', strlen($sealed)).$sealed);
    }

    private function send(string $bytes): void
    {
        while ('' !== $bytes) {
            $this->waiting->breakOnSignal();
            [$write, $none] = [[$this->socket], []];
            // A signal interrupts it with a warning.
            if (1 === (int) @stream_select($none, $write, $none, 0, Handover::POLL_MICROSECONDS)) {
                $sent = @fwrite($this->socket, $bytes);
                if (false === $sent) {
                    throw new Stop('the other container reads no more', Stop::CUT_OFF);
                }
                $bytes = substr($bytes, $sent);
            }
        }
    }

    /** @return resource */
    private function connect()
    {
        for ($until = microtime(true) + $this->handover->seconds; microtime(true) < $until; $this->waiting->pause()) {
            if (null !== $socket = $this->attempt()) {
                return $socket;
            }
        }
        $where = implode(', ', $this->handover->addresses);
        throw new Stop("the other branch's container cannot be reached at {$where}, port {$this->handover->port} (after {$this->handover->seconds} s)", Stop::IN_VAIN);
    }

    /** @return resource|null the first of all addresses that answers */
    private function attempt()
    {
        $open = [];
        foreach ($this->handover->addresses as $address) {
            $host = str_contains($address, ':') ? "[{$address}]" : $address;
            $open[] = @stream_socket_client("tcp://{$host}:{$this->handover->port}", flags: STREAM_CLIENT_CONNECT | STREAM_CLIENT_ASYNC_CONNECT);
        }
        $open = array_filter($open);
        for ($until = microtime(true) + self::ATTEMPT_SECONDS; [] !== $open && microtime(true) < $until;) {
            [$ended, $none] = [$open, []];
            // A signal interrupts it with a warning.
            if (0 < (int) @stream_select($none, $ended, $none, 0, Handover::POLL_MICROSECONDS)) {
                foreach ($ended as $at => $socket) {
                    if (false !== stream_socket_get_name($socket, true)) {
                        return $socket;
                    }
                    unset($open[$at]);
                }
            }
        }

        return null;
    }
}
