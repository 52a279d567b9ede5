<?php

declare(strict_types=1);

/**
 * Replaces values of people by made-up ones, each derived from the old value with a keyed hash (HMAC).
 *
 * The same value gives the same pseudonym wherever it stands, in every table and inside free text, so what
 * was joined by value stays joined. Without the salt a pseudonym neither leads back to its source nor can
 * be recomputed from a guess at it; another salt has no pseudonym in common with this one. Addresses are
 * below example.com and IP addresses in 2001:db8::/32, which are reserved for documentation (RFC 2606, RFC
 * 3849); the telephone numbers have the unassigned area code 555 and one digit too many.
 */
final class Pseudonyms
{
    public const SITE = 'https://site.example.com';
    public const SINK_EMAIL = 'sink@example.com';
    /** Refused at once in the container itself, where nobody listens (port 9, "discard"): not even a name is looked up. */
    public const SINK_URL = 'http://127.0.0.1:9/';

    private const CONSONANTS = ['b', 'd', 'f', 'g', 'h', 'k', 'l', 'm', 'n', 'p', 'r', 's', 't', 'v', 'w', 'z'];
    private const VOWELS = ['a', 'e', 'i', 'o', 'u', 'ai', 'ea', 'io'];
    /** 16 * 8 sounds a syllable: seven of them are 49 bits. */
    private const SYLLABLES = 7;

    /** @var array<string, string> a sound for each byte */
    private array $sounds = [];

    public function __construct(#[SensitiveParameter] private readonly string $salt)
    {
        for ($byte = 0; $byte < 256; ++$byte) {
            $this->sounds[chr($byte)] = self::CONSONANTS[$byte >> 4].self::VOWELS[$byte & 7];
        }
    }

    /** Identifies the salt without telling anything about it. */
    public function saltId(): string
    {
        return substr($this->hash('salt', ''), 0, 16);
    }

    /** @return string 64 hexadecimal digits */
    public function hash(string $kind, string $value): string
    {
        return hash_hmac('sha256', "{$kind}\0{$value}", $this->salt);
    }

    public function email(string $address): string
    {
        $address = mb_strtolower(trim($address));
        $domain = ltrim((string) strrchr($address, '@'), '@');

        return 'c'.substr($this->hash('email', $address), 0, 14).'@'.$this->domain($domain);
    }

    /** The same for all addresses of a domain, so that contacts are still grouped by it. */
    public function domain(string $domain): string
    {
        return substr($this->hash('domain', mb_strtolower($domain)), 0, 12).'.example.com';
    }

    public function phone(string $number): string
    {
        $digits = preg_replace('/\D+/', '', $number);

        return '+1555'.$this->digits('phone', '' === $digits ? $number : $digits, 12);
    }

    public function firstName(string $name): string
    {
        return $this->name('first', $name);
    }

    public function lastName(string $name): string
    {
        return $this->name('last', $name);
    }

    public function city(string $city): string
    {
        return $this->name('city', $city);
    }

    public function company(string $company): string
    {
        return $this->name('company', $company).' Ltd';
    }

    public function street(string $street): string
    {
        return $this->name('street', $street).' Street '.(1 + hexdec(substr($this->hash('number', $street), 0, 2)));
    }

    public function zip(string $zip): string
    {
        return $this->digits('zip', self::folded($zip), 10);
    }

    public function url(string $url): string
    {
        return 'https://'.mb_strtolower($this->name('url', $url)).'.example.com/';
    }

    public function ip(string $address): string
    {
        return '2001:db8:'.implode(':', str_split(substr($this->hash('ip', $address), 0, 24), 4));
    }

    /** @param string $id of a user, or what is known of one who has none */
    public function staffLastName(string $id): string
    {
        return $this->name('staff', $id);
    }

    public function staffName(string $id): string
    {
        return 'User '.$this->staffLastName($id);
    }

    /** Text without meaning, as long as the old one in characters. */
    public function lorem(string $text): string
    {
        $length = mb_strlen($text);
        $key = hash_hmac('sha256', "lorem\0{$text}", $this->salt, true);
        $bytes = sodium_crypto_stream($length, str_repeat("\0", SODIUM_CRYPTO_STREAM_NONCEBYTES), $key);
        $words = '';
        foreach (str_split($bytes, 3) as $word) {
            $words .= strtr($word, $this->sounds).' ';
            if (strlen($words) >= $length) {
                break;
            }
        }
        $words = substr($words, 0, $length);

        // Not at the end, where some columns drop it.
        return str_ends_with($words, ' ') ? substr($words, 0, -1).'o' : $words;
    }

    private function name(string $kind, string $value): string
    {
        $bytes = substr(hash_hmac('sha256', $kind."\0".self::folded($value), $this->salt, true), 0, self::SYLLABLES);

        return ucfirst(strtr($bytes, $this->sounds));
    }

    /** @param positive-int $count at most 15 */
    private function digits(string $kind, string $value, int $count): string
    {
        return str_pad((string) (hexdec(substr($this->hash($kind, $value), 0, 15)) % 10 ** $count), $count, '0', STR_PAD_LEFT);
    }

    private static function folded(string $value): string
    {
        return mb_strtolower(trim($value));
    }
}
