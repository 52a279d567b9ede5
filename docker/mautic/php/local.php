<?php

// Mautic's configuration: what is given by the environment, over the image's own defaults. Each parameter
// has its variable: MAUTIC_<PARAMETER>, or the file that MAUTIC_<PARAMETER>_FILE names.
require_once '/opt/mautic/environment.php';

$parameters = MauticEnvironment::parameters() + [
    'db_driver'            => 'pdo_mysql',
    'db_host'              => '127.0.0.1',
    'db_port'              => 3306,
    'db_name'              => 'mautic',
    'db_user'              => 'mautic',
    'db_password'          => '',
    'db_table_prefix'      => null,
    'db_backup_tables'     => 0,
    'db_backup_prefix'     => 'bak_',
    'secret_key'           => '',
    'site_url'             => null,
    // nginx has already decided who the client is; these are for other set-ups.
    'trusted_proxies'      => [],
    'trusted_hosts'        => [],
    'cache_path'           => '%kernel.project_dir%/var/cache',
    'log_path'             => '%kernel.project_dir%/var/logs',
    'tmp_path'             => '%kernel.project_dir%/var/tmp',
    // shared by the web server and the workers; Mautic's own var/import cannot be written to
    'import_leads_dir'     => '%mautic.application_dir%/media/files/import',
    'import_campaigns_dir' => '%mautic.application_dir%/media/files/import',
    'mailer_dsn'           => 'null://null',
    // The default doctrine DSN is one queue for all: a worker of one would take the other's messages.
    'messenger_dsn_email'  => 'doctrine://default?queue_name=email',
    'messenger_dsn_hit'    => 'doctrine://default?queue_name=hit',
    'messenger_dsn_failed' => 'doctrine://default?queue_name=failed',
];
MauticEnvironment::export($parameters);
