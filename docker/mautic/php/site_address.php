<?php

declare(strict_types=1);

/** Replaces a site's address: in text, in JSON, in addresses of pages, and inside PHP's serialised values. */
final class SiteAddress
{
    private const DEPTH = 64;

    /** @var array<string, string> each way in which it is written */
    public readonly array $forms;

    public function __construct(string $old, string $new)
    {
        $escaped = static fn (string $address): string => str_replace('/', '\\/', $address);
        $this->forms = [$old => $new, $escaped($old) => $escaped($new), rawurlencode($old) => rawurlencode($new)];
    }

    public function replace(string $value): string
    {
        if (preg_match('/\A[aOs]:\d+:/', $value)) {
            $read = @unserialize($value, ['allowed_classes' => false, 'max_depth' => self::DEPTH]);
            if (false !== $read) {
                // Lengths stand before strings.
                return serialize($this->walk($read));
            }
        }

        return strtr($value, $this->forms);
    }

    private function walk(mixed $value): mixed
    {
        if (is_string($value)) {
            return $this->replace($value);
        }
        if (!is_array($value)) {
            return $value;
        }
        $made = [];
        foreach ($value as $key => $item) {
            $made[is_string($key) ? strtr($key, $this->forms) : $key] = $this->walk($item);
        }

        return $made;
    }
}
