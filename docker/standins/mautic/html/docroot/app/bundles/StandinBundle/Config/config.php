<?php

// Where Mautic's bundles say which parameters they have, and what these are by default.
return [
    'parameters' => [
        'db_host'              => '127.0.0.1',
        'db_port'              => 3306,
        'db_name'              => '',
        'db_user'              => '',
        'db_password'          => '',
        'db_table_prefix'      => '',
        'site_url'             => '',
        'secret_key'           => '',
        'cache_path'           => '%kernel.project_dir%/var/cache',
        'mailer_dsn'           => 'smtp://localhost:25',
        'messenger_dsn_email'  => 'sync://',
        'messenger_dsn_hit'    => 'sync://',
        'messenger_dsn_failed' => 'null://',
        'trusted_proxies'      => [],
        'trusted_hosts'        => [],
    ],
];
