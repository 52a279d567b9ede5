<?php

declare(strict_types=1);

/** What php-fpm has answered. */
final class FpmAnswer
{
    /** @param array<string, list<string>> $headers by their names in lower case */
    public function __construct(public readonly int $status, public readonly array $headers, public readonly string $body, public readonly float $seconds)
    {
    }
}

/** Asks php-fpm itself, as nginx does: https://fastcgi-archives.github.io/FastCGI_Specification.html */
final class FastCgi
{
    private const BEGIN = 1;
    private const END = 3;
    private const PARAMS = 4;
    private const STDIN = 5;
    private const STDOUT = 6;
    private const RESPONDER = 1;
    private const LONGEST_RECORD = 65_535;

    /** @param string $listen as FPM_LISTEN: a socket's path, a port, or an address with a port */
    public function __construct(private readonly string $listen, private readonly int $timeoutSeconds)
    {
    }

    /**
     * @param array<string, string> $params what the script sees in $_SERVER
     *
     * @throws RuntimeException when there is no answer
     */
    public function ask(array $params, string $body = ''): FpmAnswer
    {
        $started = microtime(true);
        $socket = @stream_socket_client($this->address(), $number, $why, $this->timeoutSeconds);
        if (false === $socket) {
            throw new RuntimeException("php-fpm cannot be reached: {$why}");
        }
        stream_set_timeout($socket, $this->timeoutSeconds);
        $encoded = '';
        foreach ($params as $name => $value) {
            $encoded .= self::length($name).self::length($value).$name.$value;
        }
        fwrite($socket, self::record(self::BEGIN, pack('nCx5', self::RESPONDER, 0)).self::stream(self::PARAMS, $encoded).self::stream(self::STDIN, $body));
        $output = '';
        do {
            ['type' => $type, 'length' => $length, 'padding' => $padding] = unpack('Cversion/Ctype/nid/nlength/Cpadding/x', self::read($socket, 8));
            $content = self::read($socket, $length + $padding);
            if (self::STDOUT === $type) {
                $output .= substr($content, 0, $length);
            }
        } while (self::END !== $type);
        fclose($socket);

        return self::parsed($output, microtime(true) - $started);
    }

    private function address(): string
    {
        return match (true) {
            str_starts_with($this->listen, '/') => "unix://{$this->listen}",
            str_contains($this->listen, ':') => "tcp://{$this->listen}",
            default => "tcp://127.0.0.1:{$this->listen}",
        };
    }

    private static function parsed(string $output, float $seconds): FpmAnswer
    {
        [$head, $body] = explode("\r\n\r\n", $output, 2) + [1 => ''];
        $headers = [];
        foreach (explode("\r\n", $head) as $line) {
            [$name, $value] = explode(':', $line, 2) + [1 => ''];
            $headers[strtolower($name)][] = trim($value);
        }

        return new FpmAnswer((int) ($headers['status'][0] ?? '200'), $headers, $body, $seconds);
    }

    /** @param resource $socket */
    private static function read($socket, int $length): string
    {
        $read = '';
        while (strlen($read) < $length) {
            $part = fread($socket, $length - strlen($read));
            if ('' === $part || false === $part) {
                throw new RuntimeException(stream_get_meta_data($socket)['timed_out'] ? 'php-fpm has not answered in time' : 'php-fpm has ended the connection');
            }
            $read .= $part;
        }

        return $read;
    }

    private static function stream(int $type, string $content): string
    {
        $parts = '' === $content ? [] : str_split($content, self::LONGEST_RECORD);

        return implode('', array_map(static fn (string $part): string => self::record($type, $part), $parts)).self::record($type, '');
    }

    private static function record(int $type, string $content): string
    {
        return pack('CCnnCx', 1, $type, 1, strlen($content), 0).$content;
    }

    private static function length(string $text): string
    {
        $length = strlen($text);

        return $length < 128 ? chr($length) : pack('N', $length | 0x8000_0000);
    }
}
