<?php

declare(strict_types=1);

use Symfony\Component\HttpKernel\CacheWarmer\CacheWarmerInterface;

/**
 * Takes the compiled routes in use along into a cache that is compiled beside it, where DEV_KEEP_ROUTES says
 * that none has changed. Otherwise the first request compiles them, which takes about as long as all the rest.
 */
final class KeptRoutes implements CacheWarmerInterface
{
    public function __construct(private readonly string $environment)
    {
    }

    public function isOptional(): bool
    {
        return false;
    }

    /** @return list<string> */
    public function warmUp(string $cacheDir, ?string $buildDir = null): array
    {
        $used = dirname($cacheDir)."/{$this->environment}";
        if (getenv('DEV_KEEP_ROUTES') && $used !== $cacheDir) {
            foreach (glob("{$used}/url_*_routes.php*") as $file) {
                copy($file, "{$cacheDir}/".basename($file));
            }
        }

        return [];
    }
}
