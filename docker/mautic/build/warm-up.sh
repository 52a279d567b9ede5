#!/bin/sh
# warm-up.sh SCHEME: compiles Mautic's cache for site URLs of this scheme into /warm, without a
# database and without a secret.
set -eu
scheme=$1
key=build-time-only-$(head -c 12 /dev/urandom | od -An -tx1 | tr -d ' \n')
prepend=/tmp/server-version.php
# Otherwise Doctrine asks the database which version it is.
echo '<?php define("MAUTIC_DB_SERVER_VERSION", "8.4.0");' > "$prepend"

MAUTIC_SECRET_KEY=$key MAUTIC_SITE_URL=$scheme://build.invalid \
  php -d memory_limit=1G -d auto_prepend_file="$prepend" bin/console cache:warmup --no-interaction

if grep -rqF "$key" var/cache var/tmp; then
  echo "cache:warmup wrote the secret key into the cache" >&2
  exit 1
fi
mkdir -p /warm
if grep -rqF build.invalid var/cache var/tmp; then
  echo "cache:warmup wrote the site's URL into the cache: it is compiled at start instead" >&2
else
  mv var/cache var/tmp /warm/
fi
