<?php

declare(strict_types=1);

namespace Composer;

/** What Symfony asks which packages there are; Debian's were not installed by Composer. */
final class InstalledVersions
{
    public static function isInstalled(string $package, bool $development = true): bool
    {
        return false;
    }
}
