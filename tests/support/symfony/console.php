#!/usr/bin/env php
<?php

declare(strict_types=1);

use Symfony\Bundle\FrameworkBundle\Console\Application;
use Symfony\Bundle\FrameworkBundle\FrameworkBundle;
use Symfony\Bundle\FrameworkBundle\Kernel\MicroKernelTrait;
use Symfony\Component\DependencyInjection\Loader\Configurator\ContainerConfigurator;
use Symfony\Component\HttpKernel\Kernel;
use Symfony\Component\Routing\Exception\ResourceNotFoundException;
use Symfony\Component\Routing\Loader\Configurator\RoutingConfigurator;

foreach (['Bundle/FrameworkBundle', 'Component/Console', 'Component/Yaml'] as $part) {
    require_once "/usr/share/php/Symfony/{$part}/autoload.php";
}
require_once __DIR__.'/InstalledVersions.php';
require_once '/opt/mautic/kept_routes.php';

/** A site whose paths are those in the variable ROUTES. */
final class Site extends Kernel
{
    use MicroKernelTrait;

    public function registerBundles(): iterable
    {
        yield new FrameworkBundle();
    }

    public function getProjectDir(): string
    {
        return __DIR__;
    }

    private function configureContainer(ContainerConfigurator $container): void
    {
        $container->extension('framework', ['secret' => 'none', 'router' => ['utf8' => true]]);
        // As docker/mautic/php/config_override.php has it.
        $container->services()->set('mautic_multidev.kept_routes', KeptRoutes::class)
            ->args(['%kernel.environment%'])
            ->tag('kernel.cache_warmer');
    }

    private function configureRoutes(RoutingConfigurator $routes): void
    {
        foreach (explode(' ', getenv('ROUTES') ?: '') as $path) {
            $routes->add("r{$path}", $path)->controller('nobody::answers');
        }
    }
}

$site = new Site('prod', false);
if ('request' === $argv[1]) {
    // By the compiled routes, of which router:match has none: one way, and the other.
    $site->boot();
    $router = $site->getContainer()->get('router');
    try {
        $router->generate($router->match($argv[2])['_route']);
    } catch (ResourceNotFoundException) {
        exit(1);
    }
    exit(0);
}
(new Application($site))->run();
