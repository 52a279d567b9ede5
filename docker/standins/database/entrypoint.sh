#!/bin/sh
# Prepares an empty /var/lib/mysql as the official mysql image does, then runs the command.
#
# Environment, each also as NAME_FILE (a file whose content is the value):
#   MYSQL_ROOT_PASSWORD   required at the first start; root may connect from anywhere
#   MYSQL_DATABASE        created at the first start
#   MYSQL_USER, MYSQL_PASSWORD  created at the first start with all rights on MYSQL_DATABASE and nothing else
# Files /docker-entrypoint-initdb.d/*.sql, a statement a line, are run after that, also at the first start only.
# Nothing listens before everything is in place, so whoever can connect finds a finished database.
set -eu
umask 027
data=/var/lib/mysql
# Stands from the first file to the last statement: its presence means the preparation was cut off.
unfinished=$data/.standin-unfinished

say() { printf 'database stand-in (MariaDB): %s\n' "$*" >&2; }
die() { say "$@"; exit 1; }

# value NAME: the value of $NAME, or of the file that ${NAME}_FILE names.
value() {
  eval "plain=\${$1:-} file=\${$1_FILE:-}"
  if [ -n "$plain" ] && [ -n "$file" ]; then
    die "both $1 and $1_FILE are set; one of them is enough"
  elif [ -n "$file" ]; then
    plain=$(cat "$file") || die "$1_FILE: $file cannot be read by uid $(id -u)"
  fi
  case $plain in *"
"*) die "$1 has a line break" ;; esac
  printf %s "$plain"
}

# SQL literals and identifiers: in '…' only \ and ' are special, in `…` only `.
literal() { printf "'%s'" "$(printf %s "$1" | sed "s/\\\\/\\\\\\\\/g; s/'/''/g")"; }
# shellcheck disable=SC2016 # the backticks are SQL's
identifier() { printf '`%s`' "$(printf %s "$1" | sed 's/`/``/g')"; }
# In GRANT the name of a database is a pattern: without the escapes mautic_a would also open mauticXa.
pattern() { identifier "$(printf %s "$1" | sed 's/[_%\\]/\\&/g')"; }

# One statement a line. Not by echo, which reads backslashes in sh.
statements() {
  printf '%s;\n' \
    'SET NAMES utf8mb4' \
    "DELETE FROM mysql.global_priv WHERE User = 'root' AND Host <> 'localhost' OR User = ''" \
    'FLUSH PRIVILEGES' \
    "ALTER USER 'root'@'localhost' IDENTIFIED BY $(literal "$root_password")" \
    "CREATE USER 'root'@'%' IDENTIFIED BY $(literal "$root_password")" \
    "GRANT ALL ON *.* TO 'root'@'%' WITH GRANT OPTION"
  [ -z "$database" ] || printf 'CREATE DATABASE %s;\n' "$(identifier "$database")"
  if [ -n "$user" ]; then
    printf "CREATE USER %s@'%%' IDENTIFIED BY %s;\n" "$(literal "$user")" "$(literal "$password")"
    [ -z "$database" ] || printf "GRANT ALL ON %s.* TO %s@'%%';\n" "$(pattern "$database")" "$(literal "$user")"
  fi
  for file in /docker-entrypoint-initdb.d/*.sql; do
    [ ! -f "$file" ] || cat "$file"
  done
}

prepare() {
  root_password=$(value MYSQL_ROOT_PASSWORD)
  database=$(value MYSQL_DATABASE)
  user=$(value MYSQL_USER)
  password=$(value MYSQL_PASSWORD)
  [ -n "$root_password" ] || die 'MYSQL_ROOT_PASSWORD or MYSQL_ROOT_PASSWORD_FILE is needed for the first start'
  [ "$user" != root ] || die 'MYSQL_USER is root, which exists already'
  [ -z "$user" ] || [ -n "$password" ] || die "MYSQL_USER is $user, but MYSQL_PASSWORD is empty"

  say 'preparing the data directory'
  : >"$unfinished"
  find "$data" -mindepth 1 -not -path "$unfinished" -delete
  mariadb-install-db --datadir="$data" --auth-root-authentication-method=normal --skip-test-db >/dev/null
  statements | mariadbd --bootstrap
  # A refused statement ends the bootstrap, and grants are its last ones.
  sync
  rm "$unfinished"
  say 'ready for its first start'
}

case ${1:-} in
  -*) set -- mariadbd "$@" ;;
esac
if [ "${1:-}" = mariadbd ] || [ "${1:-}" = mysqld ]; then
  if [ -e "$unfinished" ]; then
    say 'the first start was cut off; beginning again'
    prepare
  elif [ -e "$data/mysql.ibd" ]; then
    die "$data was written by MySQL, which MariaDB cannot read; use another volume, or the official image"
  elif [ -d "$data/mysql" ]; then
    :
  elif [ -n "$(ls -A "$data")" ]; then
    die "$data holds files that are no database; nothing was touched"
  else
    prepare
  fi
fi
exec "$@"
