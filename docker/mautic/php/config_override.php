<?php

use Symfony\Component\DependencyInjection\Compiler\CompilerPassInterface;
use Symfony\Component\DependencyInjection\ContainerBuilder;

require_once '/opt/mautic/database_tls.php';
require_once '/opt/mautic/kept_routes.php';

/*
 * Settings of the compiled container. Mautic loads this before config_local.php, which is yours
 * (docker/mautic/config/config_local.php) and wins.
 */

// The session cookie is Secure when the request came over HTTPS, whatever site_url was at build.
$container->loadFromExtension('framework', ['session' => ['cookie_secure' => 'auto']]);

// Logs go to stderr, where the container engine collects them.
$container->loadFromExtension('monolog', ['handlers' => [
    'nested' => ['type' => 'stream', 'path' => 'php://stderr', 'level' => 'error'],
    'mautic' => ['type' => 'stream', 'path' => 'php://stderr', 'level' => 'notice'],
]]);

// Compiled templates lie with all that is compiled. Mautic has them in var/tmp, beside uploads.
$container->loadFromExtension('twig', ['cache' => '%kernel.cache_dir%/twig']);

// The languages whose texts are compiled while the image is built: the site's and those in translations/.
// Otherwise it is done for all that Symfony has a word in, nearly ninety, most of the time of a
// warm-up. This says nothing about other languages: at run time each is compiled at its first use.
$container->addCompilerPass(new class() implements CompilerPassInterface {
    public function process(ContainerBuilder $container): void
    {
        $folder = dirname(__DIR__).'/docroot/translations';
        $installed = glob("{$folder}/{*,overrides/*}", GLOB_ONLYDIR | GLOB_BRACE) ?: [];
        $languages = array_diff(array_map(basename(...), $installed), ['overrides']);
        $container->getDefinition('translator.default')->setArgument(5, [
            ...array_unique([$container->getParameter('kernel.default_locale'), ...$languages]),
        ]);
    }
});

// TLS to the database, where the environment asks for it.
$container->register('mautic_multidev.database_tls', DatabaseTls::class)
    ->setFile('/opt/mautic/database_tls.php')
    ->addTag('doctrine.middleware');

// Routes that `inv dev` knows to be as they were.
$container->register('mautic_multidev.kept_routes', KeptRoutes::class)
    ->setFile('/opt/mautic/kept_routes.php')
    ->setArguments(['%kernel.environment%'])
    ->addTag('kernel.cache_warmer');
