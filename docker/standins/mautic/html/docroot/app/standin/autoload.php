<?php

declare(strict_types=1);

namespace Standin;

const NOTICE = 'This is the stand-in of mautic-multidev, not Mautic.';

/** The project's root: bin/, config/, var/ and docroot/ are in it. */
define('Standin\PROJECT', dirname(__DIR__, 3));

spl_autoload_register(static function (string $class): void {
    if (str_starts_with($class, __NAMESPACE__.'\\')) {
        require __DIR__.'/'.substr($class, strlen(__NAMESPACE__) + 1).'.php';
    } elseif (str_starts_with($class, 'MauticPlugin\\')) {
        require PROJECT.'/docroot/plugins/'.strtr(substr($class, strlen('MauticPlugin\\')), '\\', '/').'.php';
    }
});
