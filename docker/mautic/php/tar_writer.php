<?php

declare(strict_types=1);

require_once '/opt/mautic/waiting.php';

/** Writes plain files into a tar (POSIX.1-2001, "pax"), one after the other. */
final class TarWriter
{
    private const BLOCK_BYTES = 512;
    private const CHUNK_BYTES = 65_536;
    /** What the header's own eleven octal digits can say; a pax record says it again, of any size. */
    private const HEADER_BYTES = 0o77777777777;

    /** @param Closure(string): void $write */
    public function __construct(private readonly Closure $write)
    {
    }

    /**
     * @param resource $file
     *
     * @return int how many bytes it has
     *
     * @throws Stop when it has fewer than it had when this began
     */
    public function add(string $name, $file): int
    {
        ['size' => $size, 'mtime' => $time] = fstat($file);
        $records = self::record('path', $name).self::record('size', (string) $size);
        ($this->write)(self::header('x', strlen($records), $time).self::padded($records));
        ($this->write)(self::header('0', min($size, self::HEADER_BYTES), $time));
        for ($left = $size; $left > 0; $left -= strlen($bytes)) {
            $bytes = (string) fread($file, min($left, self::CHUNK_BYTES));
            if ('' === $bytes) {
                throw new Stop("{$name} has become shorter while it was read; run it again", Stop::FAILED);
            }
            ($this->write)($bytes);
        }
        ($this->write)(self::padding($size));

        return $size;
    }

    public function finish(): void
    {
        ($this->write)(str_repeat("\0", 2 * self::BLOCK_BYTES));
    }

    /** A header for a file of nobody in particular, whose name is in the records before it. */
    private static function header(string $type, int $size, int $time): string
    {
        $header = pack(
            'a100a8a8a8a12a12a8aa100a6a2a32a32a8a8a155a12',
            'upload', '0000644', '0000000', '0000000', sprintf('%011o', $size), sprintf('%011o', $time),
            str_repeat(' ', 8), $type, '', 'ustar', '00', '', '', '0000000', '0000000', '', '',
        );

        return substr_replace($header, sprintf("%06o\0 ", array_sum(unpack('C*', $header))), 148, 8);
    }

    /** @return string "LENGTH KEY=VALUE\n", whose length counts its own digits */
    private static function record(string $key, string $value): string
    {
        $rest = " {$key}={$value}\n";
        $length = strlen($rest);

        return $length + strlen((string) ($length + strlen((string) $length))).$rest;
    }

    private static function padded(string $bytes): string
    {
        return $bytes.self::padding(strlen($bytes));
    }

    private static function padding(int $size): string
    {
        return str_repeat("\0", -$size & (self::BLOCK_BYTES - 1));
    }
}
