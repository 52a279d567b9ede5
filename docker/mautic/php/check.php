<?php

declare(strict_types=1);

/**
 * Refuses variables that cannot be, each by its name: by the rules of variables.json, by the types of
 * Mautic's parameters, and for what was compiled into the image.
 *
 * A rule says what a value must match (`pattern`), what else it must be (`kind`: timezone),
 * and in words what that is (`must`); or how the same is done where the variable cannot do it
 * (`instead`). `set`: it has a value always, and no _FILE. `file`: as NAME_FILE alone. `compiled`: the
 * image cannot change it any more.
 *
 * Exit status: 0 nothing is wrong, 64 something is.
 */
require_once __DIR__.'/environment.php';

$rules = json_decode((string) file_get_contents(__DIR__.'/variables.json'), true, 8, JSON_THROW_ON_ERROR);
$isSecret = static fn (string $name): bool => (bool) preg_match('/PASSWORD|SECRET|TOKEN|DSN/', $name);
$fits = static fn (array $rule, string $value): bool => (!isset($rule['pattern']) || preg_match("\x01{$rule['pattern']}\x01D", $value))
    && match ($rule['kind'] ?? null) {
        null => true,
        'timezone' => in_array($value, DateTimeZone::listIdentifiers(DateTimeZone::ALL_WITH_BC), true),
    };

$wrong = [];
foreach ($rules as $name => $rule) {
    try {
        $isSet = $rule['set'] ?? false;
        $value = $isSet ? (string) getenv($name) : MauticEnvironment::get($name);
        if ($isSet && false !== getenv($name.'_FILE')) {
            $wrong[] = "{$name}_FILE is not read: give {$name}";
        } elseif (null === $value) {
            continue;
        } elseif (($rule['file'] ?? false) && '' !== (string) getenv($name)) {
            $wrong[] = "{$name} is not read: give {$name}_FILE, the name of a file that holds it";
        } elseif (isset($rule['instead'])) {
            $wrong[] = "{$name} {$rule['instead']}";
        } elseif (isset($rule['must']) && !$fits($rule, $value)) {
            $wrong[] = "{$name} must {$rule['must']}".($isSecret($name) || ($rule['file'] ?? false) ? '' : ", not '{$value}'");
        }
    } catch (WrongVariable $e) {
        $wrong[] = $e->getMessage();
    }
}
try {
    $parameters = MauticEnvironment::parameters();
    $own = MauticEnvironment::own();
    foreach (array_keys(array_filter($rules, static fn (array $rule): bool => $rule['compiled'] ?? false)) as $name) {
        $key = strtolower(substr($name, strlen('MAUTIC_')));
        if (($parameters[$key] ?? null ?: null) != ($own[$key] ?? null ?: null)) {
            $wrong[] = "{$name} is compiled into the image: set {$key} in docker/mautic/config/parameters_local.php, and build";
        }
    }
} catch (WrongVariable $e) {
    $wrong = [...$wrong, ...explode("\n", $e->getMessage())];
}
foreach (array_unique($wrong) as $sentence) {
    fwrite(STDERR, "mautic: {$sentence}\n");
}
exit([] === $wrong ? 0 : 64);
