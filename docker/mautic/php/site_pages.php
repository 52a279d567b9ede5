<?php

declare(strict_types=1);

require_once '/opt/mautic/fastcgi.php';

/** Logs in to Mautic by its own form, and asks for pages; php-fpm is asked itself, without nginx. */
final class SitePages
{
    private const ROOT = '/var/www/html/docroot';
    private const LOGIN = '/s/login';

    /** @var array<string, string> */
    private array $cookies = [];
    /** @var array<string, string> */
    private readonly array $site;

    /** @param string $url the site's address */
    public function __construct(private readonly FastCgi $fpm, string $url)
    {
        $parts = parse_url($url);
        $isTls = 'https' === ($parts['scheme'] ?? '');
        $port = $parts['port'] ?? ($isTls ? 443 : 80);
        $host = $parts['host'] ?? 'localhost';
        $this->site = ['HTTP_HOST' => isset($parts['port']) ? "{$host}:{$port}" : $host, 'SERVER_NAME' => $host, 'SERVER_PORT' => (string) $port]
            + ($isTls ? ['HTTPS' => 'on', 'REQUEST_SCHEME' => 'https'] : ['REQUEST_SCHEME' => 'http']);
    }

    /** @throws RuntimeException when nobody gets in */
    public function logIn(string $user, #[SensitiveParameter] string $password): void
    {
        $page = $this->request('GET', self::LOGIN);
        if (200 !== $page->status || !preg_match('/name="_csrf_token"\s+value="([^"]*)"/', $page->body, $token)) {
            throw new RuntimeException('the page '.self::LOGIN." answers {$page->status}, and has no form");
        }
        $form = ['_username' => $user, '_password' => $password, '_csrf_token' => html_entity_decode($token[1])];
        $answer = $this->request('POST', '/s/login_check', $form);
        if (302 !== $answer->status || self::isLogin($answer)) {
            throw new RuntimeException("the administrator {$user} does not get in: /s/login_check answers {$answer->status}");
        }
    }

    /**
     * Asks for a page as the one who has logged in.
     *
     * @return array{float, string} seconds, and what is wrong: empty for a page that is shown
     */
    public function look(string $path): array
    {
        try {
            $answer = $this->request('GET', $path);
        } catch (RuntimeException $e) {
            return [0.0, $e->getMessage()];
        }

        return [$answer->seconds, match (true) {
            200 === $answer->status => '',
            self::isLogin($answer) => 'asks for the login again',
            default => "answers {$answer->status}",
        }];
    }

    /** @param array<string, string> $form */
    private function request(string $method, string $path, array $form = []): FpmAnswer
    {
        $body = http_build_query($form);
        $answer = $this->fpm->ask([
            'GATEWAY_INTERFACE' => 'CGI/1.1', 'SERVER_PROTOCOL' => 'HTTP/1.1', 'REMOTE_ADDR' => '127.0.0.1',
            'REQUEST_METHOD' => $method, 'REQUEST_URI' => $path, 'QUERY_STRING' => '',
            'SCRIPT_FILENAME' => self::ROOT.'/index.php', 'SCRIPT_NAME' => '/index.php', 'DOCUMENT_ROOT' => self::ROOT,
            'CONTENT_TYPE' => 'POST' === $method ? 'application/x-www-form-urlencoded' : '', 'CONTENT_LENGTH' => (string) strlen($body),
            'HTTP_ACCEPT' => 'text/html', 'HTTP_USER_AGENT' => 'mautic rehearse',
            'HTTP_COOKIE' => implode('; ', array_map(static fn (string $name, string $value): string => "{$name}={$value}", array_keys($this->cookies), $this->cookies)),
        ] + $this->site, $body);
        foreach ($answer->headers['set-cookie'] ?? [] as $cookie) {
            [$name, $value] = explode('=', strtok($cookie, ';'), 2) + [1 => ''];
            $this->cookies[trim($name)] = $value;
        }

        return $answer;
    }

    private static function isLogin(FpmAnswer $answer): bool
    {
        return str_contains($answer->headers['location'][0] ?? '', self::LOGIN);
    }
}
