<?php

declare(strict_types=1);

require_once '/opt/mautic/waiting.php';
require_once '/opt/mautic/masking_rules.php';

/** What a run of `database mask` or `database seed` is asked for; every value is checked, and named if wrong. */
final class MaskSettings
{
    /** A salt that nobody knows: no two seeds have a pseudonym in common. */
    private const SALT_BYTES = 32;
    private const INPUT = ['key', 'salt', 'rules', 'contacts', 'per_group', 'canaries', 'uploads', 'server'];
    /** What may be said of another server than Mautic's own, and the parameter of Mautic that it takes the place of. */
    private const SERVER = ['host' => 'db_host', 'port' => 'db_port', 'user' => 'db_user', 'password' => 'db_password'];

    /**
     * @param list<string>              $canaries
     * @param array<string, int|string> $server   parameters of Mautic that are others here
     */
    private function __construct(
        public readonly string $key,
        public readonly string $salt,
        public readonly MaskingRules $rules,
        public readonly int $contacts,
        public readonly int $perGroup,
        public readonly array $canaries,
        public readonly bool $uploads,
        #[SensitiveParameter] public readonly array $server = [],
    ) {
    }

    public static function fromEnvironment(): self
    {
        $canaries = (string) MauticEnvironment::get('MAUTIC_MASK_CANARIES');
        $salt = MauticEnvironment::get('MAUTIC_MASK_SALT') ?? '';

        return new self(
            self::keyFromFile(),
            '' === $salt ? random_bytes(self::SALT_BYTES) : self::salt(self::secret('MAUTIC_MASK_SALT'), 'MAUTIC_MASK_SALT_FILE'),
            MaskingRules::load((string) MauticEnvironment::get('MAUTIC_MASK_RULES')),
            self::number('MAUTIC_MASK_CONTACTS', MauticEnvironment::get('MAUTIC_MASK_CONTACTS', '0')),
            self::number('MAUTIC_MASK_PER_GROUP', MauticEnvironment::get('MAUTIC_MASK_PER_GROUP', '5')),
            preg_split('/\R/', $canaries, -1, PREG_SPLIT_NO_EMPTY),
            match ($uploads = MauticEnvironment::get('MAUTIC_MASK_UPLOADS', '0')) {
                '0' => false,
                '1' => true,
                default => throw new Stop("MAUTIC_MASK_UPLOADS must be 1 or 0, not '{$uploads}'", Stop::WRONG_SETTING),
            },
        );
    }

    /** @param string $line JSON: who runs a command in a container has no other way to hand over a secret */
    public static function fromInput(#[SensitiveParameter] string $line): self
    {
        $given = json_decode($line, true, 16);
        $known = is_array($given) ? array_diff(array_keys($given), self::INPUT) : [''];
        if ([] !== $known) {
            throw new Stop('stdin must be a line of JSON, an object with '.implode(', ', self::INPUT), Stop::WRONG_SETTING);
        }
        $canaries = $given['canaries'] ?? [];
        if (!is_array($canaries) || $canaries !== array_filter($canaries, is_string(...))) {
            throw new Stop('canaries must be a list of texts', Stop::WRONG_SETTING);
        }
        if (!is_bool($given['uploads'] ?? false)) {
            throw new Stop('uploads must be true or false', Stop::WRONG_SETTING);
        }

        return new self(
            self::key(self::text($given, 'key'), 'key'),
            isset($given['salt']) ? self::salt(self::text($given, 'salt'), 'salt') : random_bytes(self::SALT_BYTES),
            MaskingRules::with($given['rules'] ?? [], "the project's rules"),
            self::number('contacts', (string) json_encode($given['contacts'] ?? 0)),
            self::number('per_group', (string) json_encode($given['per_group'] ?? 5)),
            array_values($canaries),
            $given['uploads'] ?? false,
            self::server($given['server'] ?? []),
        );
    }

    public static function keyFromFile(): string
    {
        return self::key(self::secret('MAUTIC_MASK_KEY'), 'MAUTIC_MASK_KEY_FILE');
    }

    public static function required(string $name): string
    {
        return MauticEnvironment::get($name) ?? throw new Stop("{$name} is not set", Stop::WRONG_SETTING);
    }

    /** Reads a secret from the file that NAME_FILE names; a variable would be seen by whoever may look at the Job. */
    private static function secret(string $name): string
    {
        if ('' !== (string) getenv($name)) {
            throw new Stop("{$name} is not read: give {$name}_FILE, the name of a file that holds it", Stop::WRONG_SETTING);
        }

        return MauticEnvironment::get($name) ?? throw new Stop("{$name}_FILE is not set", Stop::WRONG_SETTING);
    }

    /** @return string the bytes of a key */
    public static function key(#[SensitiveParameter] string $value, string $name): string
    {
        return preg_match('/\A[0-9a-f]{64}\z/i', $value) ? sodium_hex2bin($value) : throw new Stop("{$name} must hold 64 hexadecimal digits", Stop::WRONG_SETTING);
    }

    private static function salt(#[SensitiveParameter] string $value, string $name): string
    {
        return strlen($value) >= 32 ? $value : throw new Stop("{$name} must hold at least 32 characters", Stop::WRONG_SETTING);
    }

    /** @param array<string, mixed> $given */
    private static function text(#[SensitiveParameter] array $given, string $name): string
    {
        return is_string($given[$name] ?? null) ? $given[$name] : throw new Stop("{$name} must be a text", Stop::WRONG_SETTING);
    }

    /** @return array<string, int|string> */
    private static function server(#[SensitiveParameter] mixed $given): array
    {
        if (!is_array($given) || [] !== array_diff_key($given, self::SERVER) || $given !== array_filter($given, static fn (mixed $each): bool => is_string($each) || is_int($each))) {
            throw new Stop('server must be an object with '.implode(', ', array_keys(self::SERVER)), Stop::WRONG_SETTING);
        }
        $server = [];
        foreach ($given as $name => $value) {
            $server[self::SERVER[$name]] = $value;
        }

        return $server;
    }

    private static function number(string $name, string $value): int
    {
        return preg_match('/\A\d{1,9}\z/', $value) ? (int) $value : throw new Stop("{$name} must be a whole number, not '{$value}'", Stop::WRONG_SETTING);
    }
}
