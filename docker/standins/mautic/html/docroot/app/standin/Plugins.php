<?php

declare(strict_types=1);

namespace Standin;

use ReflectionMethod;
use RuntimeException;
use Symfony\Component\HttpFoundation\Response;
use Twig\Environment;

/**
 * The public routes of plugins and the classes that are services, which are compiled into the cache as
 * Mautic's container is: what came later is not known before cache:clear.
 */
final class Plugins
{
    /** @param array{routes: array<string, string>, services: list<string>} $compiled */
    public function __construct(private readonly array $compiled)
    {
    }

    /** @return array{routes: array<string, string>, services: list<string>} */
    public static function compile(): array
    {
        $routes = $services = [];
        foreach (self::configurations() as $bundle => $config) {
            // Only to see that it can be read.
            is_file("{$bundle}/Config/services.php") && require "{$bundle}/Config/services.php";
            foreach ($config['routes']['public'] ?? [] as $route) {
                $routes[$route['path']] = $route['controller'];
            }
            foreach (glob("{$bundle}/{Controller,Service}/*.php", GLOB_BRACE) as $file) {
                $services[] = 'MauticPlugin\\'.strtr(substr($file, strlen(dirname($bundle)) + 1, -4), '/', '\\');
            }
        }

        return ['routes' => $routes, 'services' => $services];
    }

    /**
     * What plugins say of themselves, by their folders; like Mautic's kernel each page reads it.
     *
     * @return array<string, array<string, mixed>>
     */
    public static function configurations(): array
    {
        $found = [];
        foreach (glob(PROJECT.'/docroot/plugins/*Bundle', GLOB_ONLYDIR) as $bundle) {
            $found[$bundle] = is_file("{$bundle}/Config/config.php") ? require "{$bundle}/Config/config.php" : [];
        }

        return $found;
    }

    public function answer(string $path): ?Response
    {
        if (!isset($this->compiled['routes'][$path])) {
            return null;
        }
        [$class, $method] = explode('::', $this->compiled['routes'][$path]);

        return $this->service($class)->{$method}();
    }

    private function service(string $class): object
    {
        if (Environment::class === $class) {
            return new Environment();
        }
        if (!in_array($class, $this->compiled['services'], true)) {
            throw new RuntimeException("there is no service {$class}");
        }
        $arguments = method_exists($class, '__construct') ? (new ReflectionMethod($class, '__construct'))->getParameters() : [];

        return new $class(...array_map(fn ($argument): object => $this->service((string) $argument->getType()), $arguments));
    }
}
