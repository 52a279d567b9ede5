<?php

declare(strict_types=1);

/**
 * The last line of a dump, by which whoever loads it knows that nothing is missing.
 *
 *   -- whole LINES SHA256   of the lines before it
 */
final class Ending
{
    private const START = '-- whole ';

    private HashContext $hash;
    private int $lines = 0;

    public function __construct()
    {
        $this->hash = hash_init('sha256');
    }

    /** @param string $text whole lines */
    public function add(string $text): void
    {
        hash_update($this->hash, $text);
        $this->lines += substr_count($text, "\n");
    }

    public function line(): string
    {
        return self::START."{$this->lines} ".hash_final(hash_copy($this->hash))."\n";
    }

    public static function isOne(string $line): bool
    {
        return str_starts_with($line, self::START);
    }
}
