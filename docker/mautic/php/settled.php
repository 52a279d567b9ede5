<?php

declare(strict_types=1);

require_once '/opt/mautic/waiting.php';

/** What information_schema says, once it has said the same twice. */
final class Settled
{
    private const READINGS = 50;

    /**
     * Reads until two readings in a row are equal: MariaDB leaves a table out for as long as its definition is
     * being changed, as Mautic does where somebody makes a custom field.
     *
     * @template T
     *
     * @param callable(): T $read
     *
     * @return T
     *
     * @throws Stop when they never are
     */
    public static function read(callable $read): mixed
    {
        $found = $read();
        for ($i = 0; $i < self::READINGS; ++$i) {
            $again = $read();
            if ($again === $found) {
                return $found;
            }
            $found = $again;
        }
        throw new Stop('the definitions of the tables change all the time', Stop::FAILED);
    }
}
