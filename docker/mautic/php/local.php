<?php

// Mautic's configuration, all of it from the environment: NAME, or the file that NAME_FILE names.
// Any other parameter of Mautic can be set by its own variable, MAUTIC_<PARAMETER>.
require_once '/opt/mautic/environment.php';

$parameters = [
    'db_driver'            => 'pdo_mysql',
    'db_host'              => MauticEnvironment::get('MAUTIC_DB_HOST', '127.0.0.1'),
    'db_port'              => (int) MauticEnvironment::get('MAUTIC_DB_PORT', '3306'),
    'db_name'              => MauticEnvironment::get('MAUTIC_DB_DATABASE', 'mautic'),
    'db_user'              => MauticEnvironment::get('MAUTIC_DB_USER', 'mautic'),
    'db_password'          => MauticEnvironment::get('MAUTIC_DB_PASSWORD', ''),
    'db_table_prefix'      => MauticEnvironment::get('MAUTIC_DB_TABLE_PREFIX'),
    'db_backup_tables'     => 0,
    'db_backup_prefix'     => 'bak_',
    'secret_key'           => MauticEnvironment::get('MAUTIC_SECRET_KEY', ''),
    'site_url'             => MauticEnvironment::get('MAUTIC_SITE_URL'),
    // nginx has already decided who the client is; these are for other set-ups.
    'trusted_proxies'      => MauticEnvironment::list('MAUTIC_TRUSTED_PROXIES'),
    'trusted_hosts'        => MauticEnvironment::list('MAUTIC_TRUSTED_HOSTS'),
    'cache_path'           => '%kernel.project_dir%/var/cache',
    'log_path'             => '%kernel.project_dir%/var/logs',
    'tmp_path'             => '%kernel.project_dir%/var/tmp',
    // shared by the web server and the workers; Mautic's own var/import cannot be written to
    'import_leads_dir'     => '%mautic.application_dir%/media/files/import',
    'import_campaigns_dir' => '%mautic.application_dir%/media/files/import',
    'mailer_dsn'           => MauticEnvironment::get('MAUTIC_MAILER_DSN', 'null://null'),
    // The default doctrine DSN is one queue for all: a worker of one would take the other's messages.
    'messenger_dsn_email'  => MauticEnvironment::get('MAUTIC_MESSENGER_DSN_EMAIL', 'doctrine://default?queue_name=email'),
    'messenger_dsn_hit'    => MauticEnvironment::get('MAUTIC_MESSENGER_DSN_HIT', 'doctrine://default?queue_name=hit'),
    'messenger_dsn_failed' => MauticEnvironment::get('MAUTIC_MESSENGER_DSN_FAILED', 'doctrine://default?queue_name=failed'),
];
if (MauticEnvironment::installsPlugins()) {
    // A queue in the database brings its table into every schema that is made, also into that of a
    // plugin: "Table 'messenger_messages' already exists".
    foreach (['email' => 'sync://', 'hit' => 'sync://', 'failed' => 'null://'] as $transport => $dsn) {
        $_ENV['MAUTIC_MESSENGER_DSN_'.strtoupper($transport)] = $parameters["messenger_dsn_{$transport}"] = $dsn;
    }
}
MauticEnvironment::export($parameters);
