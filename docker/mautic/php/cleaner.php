<?php

declare(strict_types=1);

require_once '/opt/mautic/pseudonyms.php';

/**
 * Takes people out of what is kept: free text, PHP's serialised arrays and JSON.
 *
 * An address of mail becomes the pseudonym that it has everywhere else. Serialised values are read without
 * classes, changed as values and written anew, so that their lengths are right; what did not change is left
 * as it was byte by byte.
 */
final class Cleaner
{
    /** An @ as it is written in text, in addresses of pages and in HTML. */
    private const AT = '(?:@|%(?:25)*40|&#0*64;|&#x0*40;|&commat;)';
    /** After the @: a host with a top level of letters. "logo@2x.png" is a picture. */
    private const HOST = '(?!\d(?:\.\d)?x\.(?:avif|gif|jpe?g|png|svg|webp)\b)((?:[\p{L}\p{N}](?:[\p{L}\p{N}-]*[\p{L}\p{N}])?\.)+[\p{L}][\p{L}\p{N}-]+)';
    /** Before the @: looked at from its first letter on alone, so that long words cost no more than others. */
    private const LOCAL = '(?<![^\s@<>"\'(),:;\[\]{}\\\\\/=?&|#%!])((?:[^\s@<>"\'(),:;\[\]{}\\\\\/=?&|#%!]|%(?!(?:25)*40)[0-9a-f]{2})++)';
    private const ADDRESS = '/'.self::LOCAL.self::AT.self::HOST.'/iu';
    /** Also what is no proper address: "a@example.org@example.net". */
    private const LIKE_ADDRESS = '/(?<=[\p{L}\p{N}._+~*$"-])'.self::AT.self::HOST.'/iu';
    /** International, or with blanks, brackets or hyphens as people write them; dates look much alike. */
    private const PHONE = '/(?<![\p{L}\p{N}.\/#_-])(?!\d{1,2}([.\/-])\d{1,2}\1\d{2,4}\b)(?:(?:\+|00)\d[\d ().\/-]{6,}\d|\(?0\d{1,4}\)?[ .\/-]\d[\d .\/-]{4,}\d|\(?\d{3}\)?[ .-]\d{3}[ .-]\d{4})(?![\p{L}\p{N}])/u';
    private const DEPTH = 64;

    private readonly string $site;
    /** Values that could not be read, and were emptied. */
    public int $unreadable = 0;

    /**
     * @param string                                $siteUrl the source's own, replaced by Pseudonyms::SITE
     * @param array<string, array<string, string>>  $keys    what becomes of a key in a serialised value: by the row's type or *, key
     * @param array<string, Closure(string):string> $fields  masks of contacts' and companies' fields, by alias
     */
    public function __construct(private readonly Pseudonyms $pseudonyms, string $siteUrl, private readonly array $keys, private readonly array $fields)
    {
        $place = preg_quote((string) preg_replace('~^https?://~', '', rtrim($siteUrl, '/')), '~');
        // As it is, inside JSON, or inside another address.
        $this->site = '~(?:https?(?::|%3A))?(?:(?:\\\\?/){2}|(?:%2F){2})'.strtr($place, ['/' => '(?:\\\\?/|%2F)', '\:' => '(?::|%3A)']).'(?![\w.-])~i';
    }

    /** Replaces addresses of mail. */
    public function addresses(string $text): string
    {
        if (!self::mayHaveAddress($text)) {
            return $text;
        }
        $text = self::replaced(self::ADDRESS, function (array $found): string {
            return self::isOurs($found[2]) ? $found[0] : $this->pseudonyms->email(rawurldecode($found[1])."@{$found[2]}");
        }, $text);

        return self::replaced(self::LIKE_ADDRESS, function (array $found): string {
            return self::isOurs($found[1]) ? $found[0] : '@'.$this->pseudonyms->domain($found[1]);
        }, $text);
    }

    /** Replaces addresses of mail, and the source's own site. */
    public function site(string $text): string
    {
        return $this->addresses(self::replaced($this->site, static fn (array $found): string => match (true) {
            str_contains($found[0], '\\/') => str_replace('/', '\\/', Pseudonyms::SITE),
            str_contains($found[0], '//') => Pseudonyms::SITE,
            default => rawurlencode(Pseudonyms::SITE),
        }, $text));
    }

    /** Replaces addresses of mail, telephone numbers, and the source's own site. */
    public function text(string $text): string
    {
        return $this->phones($this->site($text));
    }

    /** Cuts query and fragment off an address of a page. */
    public function url(string $url): string
    {
        return $this->site(substr($url, 0, strcspn($url, '?#')));
    }

    /**
     * @param string|null $type of the row, when keys are looked at as well as strings
     *
     * @return string serialised PHP
     */
    public function php(string $serialised, ?string $type = null, bool $withKeys = false): string
    {
        $value = @unserialize($serialised, ['allowed_classes' => false, 'max_depth' => self::DEPTH]);
        if (false === $value && 'b:0;' !== $serialised) {
            ++$this->unreadable;

            return 'a:0:{}';
        }
        $cleaned = $this->walk($value, $type, $withKeys);

        return $cleaned === $value ? $serialised : serialize($cleaned);
    }

    public function json(string $json): string
    {
        try {
            // Objects stay objects: an empty one would become a list.
            $value = json_decode($json, false, self::DEPTH, JSON_THROW_ON_ERROR | JSON_BIGINT_AS_STRING);
        } catch (JsonException) {
            ++$this->unreadable;

            return '[]';
        }
        $cleaned = $this->walk($value, null, false);

        return serialize($cleaned) === serialize($value) ? $json : json_encode($cleaned, JSON_THROW_ON_ERROR | JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE | JSON_PRESERVE_ZERO_FRACTION);
    }

    /** Says whether a text holds an address of mail that is not below example.com. */
    public static function hasForeignAddress(string $text): bool
    {
        if (!self::mayHaveAddress($text)) {
            return false;
        }
        if (false === preg_match_all(self::LIKE_ADDRESS, $text, $found)) {
            // It cannot be looked through, and so not be let out.
            return true;
        }
        foreach ($found[1] as $host) {
            if (!self::isOurs($host)) {
                return true;
            }
        }

        return false;
    }

    private static function mayHaveAddress(string $text): bool
    {
        return str_contains($text, '@') || (strpbrk($text, '%&') && preg_match('/'.self::AT.'/i', $text));
    }

    private function walk(mixed $value, ?string $type, bool $withKeys): mixed
    {
        if (is_string($value)) {
            return $this->string($value, $type, $withKeys);
        }
        if ($value instanceof stdClass) {
            $made = new stdClass();
            foreach (get_object_vars($value) as $key => $item) {
                $made->{$this->addresses((string) $key)} = $this->walk($item, $type, $withKeys);
            }

            return $made;
        }
        if (is_object($value)) {
            // Of a class that is not here; nothing in it can be judged.
            ++$this->unreadable;

            return null;
        }
        if (!is_array($value)) {
            return $value;
        }
        $made = [];
        foreach ($value as $key => $item) {
            $action = $withKeys && is_string($key) ? $this->keys[$type ?? '*'][$key] ?? $this->keys['*'][$key] ?? null : null;
            $mask = $withKeys ? $this->mask($key, $value) : null;
            $made[is_string($key) ? $this->addresses($key) : $key] = match (true) {
                null !== $action => self::acted($action, $item),
                null !== $mask => $this->masked($mask, $item, $type),
                default => $this->walk($item, $type, $withKeys),
            };
        }

        return $made;
    }

    private function string(string $value, ?string $type, bool $withKeys): string
    {
        // Serialised within serialised: its lengths count, too.
        if (preg_match('/\A[aO]:\d+:/', $value) && false !== @unserialize($value, ['allowed_classes' => false, 'max_depth' => self::DEPTH])) {
            return $this->php($value, $type, $withKeys);
        }

        return $withKeys ? $this->text($value) : $this->addresses($value);
    }

    /**
     * The mask of what a key stands for: a field of a contact by its alias, or what a filter compares one with.
     *
     * @param array<array-key, mixed> $siblings
     *
     * @return Closure(string):string|null
     */
    private function mask(int|string $key, array $siblings): ?Closure
    {
        $isCompared = in_array($key, ['filter', 'value', 'display'], true) && is_string($siblings['field'] ?? null);
        $compared = $isCompared ? ($this->fields[$siblings['field']] ?? null) : null;

        return $compared ?? $this->fields[$key] ?? null;
    }

    private function masked(Closure $mask, mixed $item, ?string $type): mixed
    {
        if (is_array($item)) {
            return array_map(fn (mixed $each): mixed => $this->masked($mask, $each, $type), $item);
        }

        // Numbers are ids: the key "email" is also that of an e-mail to be sent.
        return is_string($item) && '' !== $item && !ctype_digit($item) ? $mask($item) : $this->walk($item, $type, true);
    }

    private static function acted(string $action, mixed $item): mixed
    {
        if (is_array($item)) {
            return 'empty' === $action ? [] : array_map(static fn (mixed $each): mixed => self::acted($action, $each), $item);
        }

        return null === $item || '' === $item || is_bool($item) ? $item : match ($action) {
            'sink.email' => Pseudonyms::SINK_EMAIL,
            'sink.url' => Pseudonyms::SINK_URL,
            'empty' => '',
        };
    }

    private static function isOurs(string $host): bool
    {
        return (bool) preg_match('/(?:^|\.)example\.com$/iD', $host);
    }

    private function phones(string $text): string
    {
        return preg_match('/\d/', $text) ? self::replaced(self::PHONE, fn (array $found): string => $this->pseudonyms->phone($found[0]), $text) : $text;
    }

    private static function replaced(string $pattern, Closure $replacement, string $text): string
    {
        return preg_replace_callback($pattern, $replacement, $text)
            // Not UTF-8, which can only be inside a serialised value, or too much to look through.
            ?? preg_replace_callback($pattern, $replacement, mb_scrub($text))
            ?? '';
    }
}
