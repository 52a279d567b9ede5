<?php

// In the docroot layout the file manager must be told where media/ is.
$paths['local_root'] = '/var/www/html/docroot';

// The installer writes its configuration; migrate.php points it at a scratch file.
if (false !== ($scratch = getenv('MAUTIC_INSTALL_CONFIG'))) {
    $paths['local_config'] = $scratch;
}
unset($scratch);
