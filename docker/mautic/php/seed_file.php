<?php

declare(strict_types=1);

require_once '/opt/mautic/waiting.php';

/**
 * A seed: SQL, a statement a line, or a tar of uploads; compressed (gzip) and encrypted as it comes.
 *
 *   MAGIC, 24 bytes of libsodium's secretstream header, then frames of 16,384 bytes and a tag of 17 each
 *   (XChaCha20-Poly1305); the last one, which may be shorter, says that it is the last
 *
 * A frame that was changed, moved or left out, and an end that was cut off, are noticed.
 */
final class SeedFile
{
    public const MAGIC = "mautic-seed 1\n";
    public const FRAME_BYTES = 16_384;
    /** Of pseudonyms, higher levels make little less, at thrice the time. */
    private const LEVEL = 1;

    private string $state;
    private string $frame = '';
    private DeflateContext $deflate;
    private HashContext $text;
    private HashContext $bytes;
    private int $size = 0;

    /** @param resource $file */
    public function __construct(private $file, #[SensitiveParameter] string $key)
    {
        $this->deflate = deflate_init(ZLIB_ENCODING_GZIP, ['level' => self::LEVEL]);
        $this->text = hash_init('sha256');
        $this->bytes = hash_init('sha256');
        [$this->state, $header] = sodium_crypto_secretstream_xchacha20poly1305_init_push($key);
        $this->put(self::MAGIC.$header);
    }

    public function write(string $text): void
    {
        hash_update($this->text, $text);
        $this->encrypt(deflate_add($this->deflate, $text, ZLIB_NO_FLUSH));
    }

    /** @return array{sha256: string, file_sha256: string, bytes: int} the first of what was written, the others of the file */
    public function finish(): array
    {
        $this->encrypt(deflate_add($this->deflate, '', ZLIB_FINISH));
        $this->put(sodium_crypto_secretstream_xchacha20poly1305_push($this->state, $this->frame, '', SODIUM_CRYPTO_SECRETSTREAM_XCHACHA20POLY1305_TAG_FINAL));
        if (!fflush($this->file)) {
            throw self::unwritable();
        }

        return ['sha256' => hash_final($this->text), 'file_sha256' => hash_final($this->bytes), 'bytes' => $this->size];
    }

    /**
     * Decrypts a seed, statement by statement.
     *
     * @param resource $file
     *
     * @return Generator<string> a line each, without its end
     */
    public static function lines($file, #[SensitiveParameter] string $key, ?int $bytes): Generator
    {
        $pending = '';
        foreach (self::read($file, $key, $bytes) as $text) {
            $lines = explode("\n", $pending.$text);
            $pending = array_pop($lines);
            yield from $lines;
        }
        if ('' !== $pending) {
            throw new Stop('the seed ends in the middle of a statement', Stop::FAILED);
        }
    }

    /**
     * Decrypts a seed, part by part.
     *
     * @param resource $file
     * @param int|null $bytes how many the seed has, where whoever sends it may be unable to end the file
     *
     * @return Generator<string> what is in it; what has come is right, but it is a whole seed only with the last part
     */
    public static function read($file, #[SensitiveParameter] string $key, ?int $bytes = null): Generator
    {
        $header = SODIUM_CRYPTO_SECRETSTREAM_XCHACHA20POLY1305_HEADERBYTES;
        $start = (string) stream_get_contents($file, strlen(self::MAGIC) + $header);
        if (!str_starts_with($start, self::MAGIC) || strlen($start) !== strlen(self::MAGIC) + $header) {
            throw new Stop('this is no seed', Stop::FAILED);
        }
        $state = sodium_crypto_secretstream_xchacha20poly1305_init_pull(substr($start, -$header), $key);
        $inflate = inflate_init(ZLIB_ENCODING_GZIP);
        $left = ($bytes ?? PHP_INT_MAX) - strlen($start);
        do {
            $frame = (string) stream_get_contents($file, min($left, self::FRAME_BYTES + SODIUM_CRYPTO_SECRETSTREAM_XCHACHA20POLY1305_ABYTES));
            $left -= strlen($frame);
            $found = strlen($frame) < SODIUM_CRYPTO_SECRETSTREAM_XCHACHA20POLY1305_ABYTES ? false : sodium_crypto_secretstream_xchacha20poly1305_pull($state, $frame);
            if (false === $found) {
                throw new Stop('the seed is damaged, cut off, or of another key', Stop::FAILED);
            }
            yield inflate_add($inflate, $found[0]);
        } while (SODIUM_CRYPTO_SECRETSTREAM_XCHACHA20POLY1305_TAG_FINAL !== $found[1]);
        if (null === $bytes ? '' !== (string) stream_get_contents($file, 1) : 0 !== $left) {
            throw new Stop('the seed goes on after its end', Stop::FAILED);
        }
    }

    private function encrypt(string $bytes): void
    {
        $this->frame .= $bytes;
        for ($at = 0; strlen($this->frame) - $at > self::FRAME_BYTES; $at += self::FRAME_BYTES) {
            $this->put(sodium_crypto_secretstream_xchacha20poly1305_push($this->state, substr($this->frame, $at, self::FRAME_BYTES)));
        }
        $this->frame = substr($this->frame, $at);
    }

    private function put(string $bytes): void
    {
        hash_update($this->bytes, $bytes);
        $this->size += strlen($bytes);
        if (strlen($bytes) !== @fwrite($this->file, $bytes)) {
            throw self::unwritable();
        }
    }

    private static function unwritable(): Stop
    {
        return new Stop('the seed cannot be written: '.(error_get_last()['message'] ?? ''), Stop::FAILED);
    }
}
