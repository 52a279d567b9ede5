<?php

declare(strict_types=1);

namespace Standin;

use Throwable;

/** The web pages, at Mautic's addresses and with the names of Mautic's login form. */
final class Site
{
    private const IMAGES = ['image/png' => 'png', 'image/jpeg' => 'jpg', 'image/gif' => 'gif', 'image/webp' => 'webp'];
    private const IMAGE_FOLDER = PROJECT.'/docroot/media/images';
    private const ASSET_FOLDER = PROJECT.'/docroot/media/files';
    /** Mautic's lists; there is nothing in them here. */
    private const LISTS = ['/s/contacts', '/s/companies', '/s/segments', '/s/forms', '/s/emails', '/s/campaigns', '/s/pages', '/s/assets', '/s/reports', '/s/webhooks', '/s/users', '/s/plugins'];
    private const PIXEL = 'R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7';

    private Parameters $parameters;
    private Database $database;
    private Page $page;
    private Plugins $plugins;

    public function respond(): void
    {
        header('X-Mautic-Stand-In: '.NOTICE);
        header('Cache-Control: no-store');
        try {
            $this->parameters = new Parameters();
            Plugins::configurations();
            $compiled = (new Cache($this->parameters))->read();
            $this->page = new Page($compiled);
            $this->plugins = new Plugins($compiled['plugins']);
            // Before any page, as in Mautic: without the database every one of them is an error 500.
            $this->database = new Database($this->parameters);
            $this->route($_SERVER['REQUEST_METHOD'], rawurldecode((string) strtok($_SERVER['REQUEST_URI'], '?')));
        } catch (Throwable $error) {
            error_log('stand-in: '.$error->getMessage());
            $this->text(500, 'text/plain', "The stand-in cannot answer; its log says why.\n");
        }
    }

    private function route(string $method, string $path): void
    {
        if (str_starts_with($path, '/asset/')) {
            $this->download(substr($path, strlen('/asset/')));

            return;
        }
        if ('GET' === $method && in_array($path, self::LISTS, true)) {
            $this->asUser(fn (string $user) => $this->page->message('There is nothing in this list.'));

            return;
        }
        match ([$method, $path]) {
            ['GET', '/']               => $this->redirect('/s/dashboard'),
            ['GET', '/mtc.js']         => $this->text(200, 'application/javascript', '/* '.NOTICE." */\n"),
            ['GET', '/mtracking.gif']  => $this->track(),
            ['GET', '/s/counter']      => $this->text(200, 'application/json', json_encode(['notice' => NOTICE, 'counters' => (object) $this->database->counters()], JSON_THROW_ON_ERROR)."\n"),
            ['GET', '/s/login']        => $this->login(),
            ['POST', '/s/login_check'] => $this->checkLogin(),
            ['GET', '/s/logout']       => $this->logout(),
            ['GET', '/s/dashboard']    => $this->asUser(fn (string $user) => $this->page->dashboard($user)),
            ['GET', '/s/files']        => $this->asUser(fn (string $user) => $this->files()),
            // nginx asks it whether somebody is logged in.
            ['GET', '/s/ajax']         => $this->asUser(fn (string $user) => $this->text(200, 'application/json', '{"success":0}')),
            ['POST', '/s/files']       => $this->asUser(fn (string $user) => $this->upload()),
            default                    => $this->ofPlugin($path),
        };
    }

    private function ofPlugin(string $path): void
    {
        require_once __DIR__.'/libraries.php';
        $answer = $this->plugins->answer($path);
        null === $answer ? $this->refuse(404, 'There is no such page.') : $this->text(200, 'text/html', $answer->getContent());
    }

    private function track(): void
    {
        $this->database->count('hits');
        $this->database->run('INSERT INTO {page_hits} (url, date_hit) VALUES (?, UTC_TIMESTAMP())', [self::pageUrl()]);
        Queue::of('hit', $this->parameters, $this->database)?->put('hit');
        $this->text(200, 'image/gif', base64_decode(self::PIXEL, true));
    }

    /** As PageModel::getPageUrl() makes it: with the server's name as the web server gives it, 8080 a default port. */
    private static function pageUrl(): string
    {
        if (is_string($_GET['page_url'] ?? null)) {
            return $_GET['page_url'];
        }
        $port = in_array((int) $_SERVER['SERVER_PORT'], [80, 8080, 443], true) ? '' : ":{$_SERVER['SERVER_PORT']}";

        return ('on' === ($_SERVER['HTTPS'] ?? '') ? 'https' : 'http')."://{$_SERVER['SERVER_NAME']}{$port}{$_SERVER['REQUEST_URI']}";
    }

    private function login(): void
    {
        $this->session();
        if (isset($_SESSION['user'])) {
            $this->redirect('/s/dashboard');

            return;
        }
        $failed = (bool) ($_SESSION['failed'] ?? false);
        unset($_SESSION['failed']);
        $this->page->login($this->token(), $failed);
    }

    private function checkLogin(): void
    {
        $this->session();
        $hash = $this->database->value('SELECT password FROM {users} WHERE username = ? AND is_published = 1', [self::field('_username')]);
        // A hash is checked in any case, so that the time of the answer does not tell who exists.
        $correct = password_verify(self::field('_password'), is_string($hash) ? $hash : password_hash('', PASSWORD_DEFAULT));
        if (!$this->tokenIsValid() || !$correct || !is_string($hash)) {
            $_SESSION['failed'] = true;
            $this->redirect('/s/login');

            return;
        }
        session_regenerate_id(true);
        $_SESSION = ['user' => self::field('_username')];
        $this->redirect('/s/dashboard');
    }

    private function logout(): void
    {
        $this->session();
        $_SESSION = [];
        session_regenerate_id(true);
        $this->redirect('/s/login');
    }

    private function files(): void
    {
        $names = static fn (string $folder): array => array_values(array_filter(scandir($folder), static fn (string $name): bool => '.' !== $name[0] && is_file("{$folder}/{$name}")));
        $this->page->files($this->token(), $names(self::IMAGE_FOLDER), $names(self::ASSET_FOLDER));
    }

    private function upload(): void
    {
        if (!$this->tokenIsValid()) {
            $this->refuse(403, 'The form is too old, or the upload was larger than PHP takes. Go back, reload the page and try again.');

            return;
        }
        $file = $_FILES['file'] ?? [];
        if (UPLOAD_ERR_OK !== ($file['error'] ?? null)) {
            $this->refuse(400, 'No whole file arrived.');

            return;
        }
        $name = trim((string) preg_replace('/[^A-Za-z0-9_-]+/', '-', pathinfo($file['name'], PATHINFO_FILENAME)), '-') ?: 'file';
        // The content decides what the file is and how its name ends, never the visitor.
        $extension = self::IMAGES[(string) mime_content_type($file['tmp_name'])] ?? null;
        $target = null === $extension ? self::ASSET_FOLDER."/{$name}.bin" : self::IMAGE_FOLDER."/{$name}.{$extension}";
        if (!move_uploaded_file($file['tmp_name'], $target)) {
            throw new \RuntimeException("{$target} cannot be written");
        }
        // PHP makes uploads private; nginx reads the images as another container.
        chmod($target, 0o644);
        $this->redirect('/s/files');
    }

    private function download(string $name): void
    {
        $file = self::ASSET_FOLDER.'/'.$name;
        if (!preg_match('/^[A-Za-z0-9_-]+\.bin$/', $name) || !is_file($file)) {
            $this->refuse(404, 'There is no such file.');

            return;
        }
        header('Content-Disposition: attachment; filename="'.$name.'"');
        header('Content-Type: application/octet-stream');
        header('Content-Length: '.filesize($file));
        readfile($file);
    }

    /** @param callable(string): void $answer */
    private function asUser(callable $answer): void
    {
        $this->session();
        isset($_SESSION['user']) ? $answer($_SESSION['user']) : $this->redirect('/s/login');
    }

    private function session(): void
    {
        // Cookies know no ports: two installations on one host must not share a name.
        session_name('standin_'.substr(hash('sha256', $this->parameters->get('secret_key')), 0, 16));
        session_start([
            'cookie_httponly' => true,
            'cookie_samesite' => 'Lax',
            'cookie_secure'   => !in_array($_SERVER['HTTPS'] ?? '', ['', 'off'], true),
            'use_strict_mode' => true,
        ]);
    }

    private function token(): string
    {
        return $_SESSION['token'] ??= bin2hex(random_bytes(16));
    }

    private function tokenIsValid(): bool
    {
        return hash_equals($this->token(), self::field('_csrf_token'));
    }

    private static function field(string $name): string
    {
        return is_string($_POST[$name] ?? null) ? $_POST[$name] : '';
    }

    private function redirect(string $path): void
    {
        header('Location: '.$path, true, 302);
    }

    private function refuse(int $status, string $sentence): void
    {
        http_response_code($status);
        $this->page->message($sentence);
    }

    private function text(int $status, string $type, string $content): void
    {
        http_response_code($status);
        header('Content-Type: '.$type);
        echo $content;
    }
}
