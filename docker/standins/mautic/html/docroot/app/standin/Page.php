<?php

declare(strict_types=1);

namespace Standin;

/** HTML. Whatever comes from outside goes through escape(). */
final class Page
{
    /** @param array{version: string, assets: string, database: string} $release */
    public function __construct(private readonly array $release)
    {
    }

    public function login(string $token, bool $failed): void
    {
        $error = $failed ? '<p class="error" role="alert">Wrong user name or password.</p>' : '';
        $this->show('Login', <<<HTML
            {$error}
            <form class="login" method="post" action="/s/login_check">
              <input type="hidden" name="_csrf_token" value="{$this->escape($token)}">
              <label>User name <input id="username" name="_username" autocomplete="username" required autofocus></label>
              <label>Password <input id="password" name="_password" type="password" autocomplete="current-password" required></label>
              <button type="submit">Log in</button>
            </form>
            HTML);
    }

    public function dashboard(string $user): void
    {
        $this->show('Dashboard', <<<HTML
            <p>Logged in as <strong id="user">{$this->escape($user)}</strong>.</p>
            <dl>
              <dt>Release</dt><dd>{$this->escape($this->release['version'])}</dd>
              <dt>Database</dt><dd>{$this->escape($this->release['database'])}</dd>
            </dl>
            <p><a href="/s/files">Files</a> · <a href="/s/counter">Counters</a> · <a href="/s/logout">Log out</a></p>
            HTML);
    }

    /**
     * @param list<string> $images
     * @param list<string> $assets
     */
    public function files(string $token, array $images, array $assets): void
    {
        $rows = '';
        foreach (['/media/images/' => $images, '/asset/' => $assets] as $base => $names) {
            foreach ($names as $name) {
                $address = $this->escape($base.rawurlencode($name));
                $rows .= "<li><a href=\"{$address}\">{$this->escape($name)}</a></li>\n";
            }
        }
        $list = '' === $rows ? '<p>No file yet.</p>' : "<ul id=\"files\">\n{$rows}</ul>";
        $this->show('Files', <<<HTML
            <form method="post" action="/s/files" enctype="multipart/form-data">
              <input type="hidden" name="_csrf_token" value="{$this->escape($token)}">
              <label>A picture is shown below /media/images, anything else below /asset <input type="file" name="file" required></label>
              <button type="submit">Upload</button>
            </form>
            {$list}
            <p><a href="/s/dashboard">Dashboard</a></p>
            HTML);
    }

    public function message(string $sentence): void
    {
        $this->show('Stand-in', "<p>{$this->escape($sentence)}</p>");
    }

    private function show(string $title, string $body): void
    {
        $notice = $this->escape(NOTICE);
        $tag = 'v'.$this->release['assets'];
        header('Content-Type: text/html; charset=UTF-8');
        header("Content-Security-Policy: default-src 'self'; frame-ancestors 'none'; form-action 'self'");
        echo <<<HTML
            <!doctype html>
            <html lang="en">
            <head>
              <meta charset="utf-8">
              <meta name="viewport" content="width=device-width, initial-scale=1">
              <title>{$this->escape($title)} | stand-in, not Mautic</title>
              <link rel="icon" type="image/svg+xml" href="/app/assets/images/standin.svg">
              <link rel="stylesheet" href="/media/css/libraries.css?{$tag}">
              <link rel="stylesheet" href="/media/css/app.css?{$tag}">
              <script src="/media/js/libraries.js?{$tag}" defer></script>
              <script src="/media/js/app.js?{$tag}" defer></script>
            </head>
            <body>
              <p class="notice" role="note">{$notice}</p>
              <main>
                <h1>{$this->escape($title)}</h1>
                {$body}
              </main>
            </body>
            </html>

            HTML;
    }

    private function escape(string $text): string
    {
        return htmlspecialchars($text, ENT_QUOTES | ENT_SUBSTITUTE | ENT_HTML5);
    }
}
