<?php

declare(strict_types=1);

/**
 * Writes everything that is in Mautic's database: SQL, compressed (gzip).
 *
 *   dump.php dump    to stdout
 *   dump.php give    to another branch's container (handover.php), as a line of JSON on stdin says
 *
 * A statement a line, in one snapshot, with no lock that anybody waits for. Columns that the server
 * computes are left out, bytes are written as hexadecimal digits. It can be loaded into MySQL 8.4 and
 * MariaDB 11.8, whichever it was made on. Its last line says that it is whole (Ending). Then stderr has
 * one line more, "dump: whole " and JSON: bytes and sha256 of what was written, Mautic's version, its
 * migrations, rows by table.
 *
 * Environment: MAUTIC_DB_*; MAUTIC_DB_WAIT in seconds.
 *
 * Exit status: 0 done, 1 a statement failed or nobody reads, 65 there is what a dump cannot hold, 75 no
 * database in time, or the other container was not reached, 76 that one reads no more, 77 the database
 * refuses us or its host is unknown, 78 a setting is missing or wrong, 143 stopped by a signal.
 */
require_once '/opt/mautic/waiting.php';
require_once '/opt/mautic/dump_lines.php';
require_once '/opt/mautic/ending.php';
require_once '/opt/mautic/handover.php';
require_once '/opt/mautic/migrations.php';

final class Dump
{
    /** Higher levels make little less, at thrice the time. */
    private const LEVEL = 1;

    private readonly Waiting $waiting;
    private readonly ?Giver $giver;
    private readonly DeflateContext $deflate;
    private readonly HashContext $bytes;
    private readonly Ending $ending;
    private int $size = 0;

    public function __construct(?Handover $handover)
    {
        $this->waiting = new Waiting('dump');
        $this->waiting->heed();
        $this->giver = $handover ? new Giver($handover, $this->waiting) : null;
        $this->deflate = deflate_init(ZLIB_ENCODING_GZIP, ['level' => self::LEVEL]);
        $this->bytes = hash_init('sha256');
        $this->ending = new Ending();
    }

    /** @param array<string, mixed> $parameters Mautic's parameters, as in local.php */
    public function run(array $parameters): void
    {
        $database = $this->waiting->connectAs($parameters, microtime(true) + (int) MauticEnvironment::get('MAUTIC_DB_WAIT', '60'));
        $lines = new DumpLines($database, (string) $parameters['db_table_prefix'], $this->waiting);
        $schema = $lines->begin();
        $migrations = (new Migrations($database, (string) $parameters['db_table_prefix']))->recorded();
        foreach ($lines->read($schema) as $line) {
            $this->write("{$line}\n");
        }
        $this->put(deflate_add($this->deflate, $this->ending->line(), ZLIB_FINISH));
        $this->giver?->finish();
        if (!fflush(STDOUT)) {
            throw new Stop('nobody reads any more', Stop::FAILED);
        }
        $this->waiting->say('whole '.json_encode([
            'bytes' => $this->size,
            'sha256' => hash_final($this->bytes),
            'mautic' => Migrations::mautic(),
            'migrations' => $migrations,
            'rows' => $lines->rows,
        ], JSON_THROW_ON_ERROR | JSON_UNESCAPED_SLASHES));
    }

    private function write(string $text): void
    {
        $this->ending->add($text);
        $this->put(deflate_add($this->deflate, $text, ZLIB_NO_FLUSH));
    }

    private function put(string $bytes): void
    {
        hash_update($this->bytes, $bytes);
        $this->size += strlen($bytes);
        if ($this->giver) {
            $this->giver->write($bytes);
        } elseif (strlen($bytes) !== @fwrite(STDOUT, $bytes)) {
            throw new Stop('nobody reads any more', Stop::FAILED);
        }
    }
}

runOrExit('dump', static function () use ($argv): void {
    $handover = match ($argv[1] ?? '') {
        'dump' => null,
        'give' => Handover::fromInput((string) fgets(STDIN)),
        default => throw new Stop('say dump or give', Stop::USAGE),
    };
    (new Dump($handover))->run(mauticParameters());
});
