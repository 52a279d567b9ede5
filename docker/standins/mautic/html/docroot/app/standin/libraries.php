<?php

declare(strict_types=1);

/** As much of the libraries as a plugin of the tests uses. */

namespace Symfony\Component\HttpFoundation;

final class Response
{
    public function __construct(private readonly string $content)
    {
    }

    public function getContent(): string
    {
        return $this->content;
    }
}

namespace Twig;

final class Environment
{
    public function render(string $name): string
    {
        return (string) file_get_contents(\Standin\PROJECT.'/docroot/'.ltrim($name, '@'));
    }
}
