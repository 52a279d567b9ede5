#!/bin/sh
# warm-up.sh: compiles Mautic's cache without a database and without a secret, once for site URLs of
# each scheme, because routes are compiled for http or for https and only a deployment knows which.
# Into var/warm-http and var/warm-https, as deep in the project as var/cache: compiled classes name
# files of the project by their way from their own place. Equal files of the two are hard links of one
# another.
set -eu
scratch=$(mktemp -d)
key=build-time-only-$(od -An -N12 -tx1 /dev/urandom | tr -d ' \n')
# Otherwise Doctrine asks the database which version it is.
echo '<?php define("MAUTIC_DB_SERVER_VERSION", "8.4.0");' > "$scratch/server-version.php"

for scheme in http https; do
  # Only the routes differ: config_override.php keeps the scheme out of the container. Everything
  # else is compiled once.
  rm -f var/cache/prod/url_*_routes.php
  MAUTIC_SECRET_KEY=$key MAUTIC_SITE_URL=$scheme://build.invalid \
    php -d memory_limit=1G -d auto_prepend_file="$scratch/server-version.php" \
    bin/console cache:warmup --no-interaction
  if grep -rqF "$key" var/cache; then
    echo "cache:warmup wrote the secret key into the cache" >&2
    exit 1
  fi
  if grep -rqF build.invalid var/cache; then
    echo "cache:warmup wrote the site's URL into the cache: $scheme sites compile theirs at start" >&2
    continue
  fi
  cp -R var/cache "$scratch/warm-$scheme"
done
php "$(dirname "$0")/link-equal.php" "$scratch" var
