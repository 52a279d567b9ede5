#!/bin/sh
# The image's entry point. The first argument is the role:
#   web                php-fpm (default)
#   worker QUEUE…      consumes message queues
#   cron               runs Mautic's scheduled commands
#   cron status        what became of them, as JSON; to be asked beside it
#   migrate            installs Mautic into an empty database, or fills it from a seed, or migrates it; once
#   wait               ends when the database is migrated
#   console ARG…       bin/console
#   database VERB      create or drop a branch's database and user on a server; mask one into a seed, or
#                      seed: the same to stdout; unseal a seed (from stdin, to stdout); clone a seed on
#                      the same server, or sow one (from stdin); dump the database (to stdout), load a
#                      dump (from stdin), give one to another container or take one from there, copy
#                      another database of the server, reset it, or say what content it has; take a
#                      snapshot, list snapshots, restore one, undo what came after it, or say which
#                      migrations image and database have, or how many connections the server has. After
#                      sow, load, take, copy, reset and restore: migrate, uploads, for what changes along
#                      with the tables
#   uploads VERB       dump what was uploaded (to stdout), or give it to another container; stage uploads
#                      (from stdin), take such as are given, or empty folders beside it; place what is
#                      staged where it is
#   queue              what waits in the queues of messages, and what has failed, as JSON
#   rehearse VERB      an upgrade: its migrations one by one, plugins, crons, pages; a line of JSON for each
# Anything else is run as it is.
set -eu
cd /var/www/html

refuse() {
  echo "mautic: $1" >&2
  exit 64
}

# Lays the cache compiled at build into var/cache, unless there is one already. It appears at once, so
# that two commands started together do no harm.
seed_cache() {
  case ${MAUTIC_SITE_URL:-} in https://*) scheme=https ;; *) scheme=http ;; esac
  for entry in "/var/www/html/var/warm-$scheme"/*; do
    target=var/cache/${entry##*/}
    [ -e "$entry" ] && [ ! -e "$target" ] || continue
    scratch=$(mktemp -d var/cache/.seed-XXXXXX)
    if ! { lay_cache "$entry" "$scratch/new" && mv -T "$scratch/new" "$target"; } 2>/dev/null && [ ! -e "$target" ]; then
      echo "mautic: $target could not be filled; it will be compiled" >&2
    fi
    rm -rf "$scratch"
  done
}

# lay_cache FROM TO: makes a cache of links to one that cannot be written, which costs a tenth of a copy.
# Whatever is compiled anew takes a link's place. The container's classes are linked as a whole, for
# nothing is ever added to them; files beside them are copied, for they look around where they are.
lay_cache() {
  mkdir "$2"
  find "$1" -mindepth 1 -maxdepth 1 \( \
    -type d -name 'Container*' -exec ln -s -t "$2" {} + \
    -o -type d -exec cp -Rs -t "$2" {} + \
    -o -exec cp -t "$2" {} + \)
}

# supervise SIGNAL COMMAND…: runs the command with our stdin and turns every request to stop into
# SIGNAL. As process 1 a command without a handler would never see SIGTERM at all.
supervise() {
  signal=$1
  shift
  exec 3<&0
  "$@" <&3 3<&- &
  pid=$!
  exec 3<&-
  [ -z "$stopping" ] || stop
  status=0
  wait "$pid" || status=$?
  # A signal interrupts wait while the command is still ending.
  while kill -0 "$pid" 2>/dev/null; do
    status=0
    wait "$pid" || status=$?
  done
  exit "$status"
}

pid=
stopping=
# Repeated, because a command that has only just started ignores or loses the first signal.
stop() {
  stopping=yes
  [ -n "$pid" ] || return 0
  while kill -s "$signal" "$pid" 2>/dev/null; do
    sleep 1
  done &
}
trap stop TERM QUIT INT

role=${1:-web}
case $role:${2:-} in
  cron:status) ;;
  # Without php.ini, which some of the variables are for.
  web:* | worker:* | migrate:* | console:* | cron:* | wait:* | rehearse:* | queue:*) php -n /opt/mautic/check.php ;;
  database:*) php -n /opt/mautic/check.php || exit 78 ;;
esac
case $role in
  web | worker | migrate | console) ;;
  # What starts no Mautic needs no cache.
  cron)
    case $#:${2:-} in
      0: | 1:) ;;
      2:status) exec php /opt/mautic/cron.php status ;;
      *) refuse "cron takes no argument but status" ;;
    esac
    ;;
  wait)
    [ $# -eq 1 ] || refuse "wait takes no arguments"
    supervise TERM php /opt/mautic/wait.php
    ;;
  database)
    case ${2:-} in
      create | drop) program=database ;;
      mask | seed | unseal) program=mask ;;
      clone) program=clone ;;
      sow) program=sow ;;
      dump | give) program=dump ;;
      load | take | copy | reset | content) program=load ;;
      snapshot | snapshots | restore | undo | migrations | connections) program=snapshot ;;
      *) refuse "database needs create, drop, mask, seed, unseal, clone, sow, dump, give, load, take, copy, reset, content, snapshot, snapshots, restore, undo, migrations or connections" ;;
    esac
    case $#:$2 in
      2:*) ;;
      *:sow | *:load | *:take | *:copy | *:reset | *:restore) seed_cache ;;
      *) refuse "database takes one argument" ;;
    esac
    shift
    supervise TERM php "/opt/mautic/$program.php" "$@"
    ;;
  uploads)
    shift
    supervise TERM php /opt/mautic/uploads.php "$@"
    ;;
  queue)
    [ $# -eq 1 ] || refuse "queue takes no arguments"
    supervise TERM php /opt/mautic/queue.php
    ;;
  rehearse)
    [ $# -eq 2 ] || refuse "rehearse needs migrations, plugins, crons or pages"
    supervise TERM php /opt/mautic/rehearse.php "$2"
    ;;
  *) exec "$@" ;;
esac
[ $# -eq 0 ] || shift
seed_cache
[ -z "$stopping" ] || exit 143
case $role in
  web)
    [ $# -eq 0 ] || refuse "web takes no arguments"
    # SIGQUIT lets requests in flight finish, SIGTERM would cut them.
    supervise QUIT php-fpm --nodaemonize --fpm-config /opt/mautic/php-fpm.conf
    ;;
  worker)
    [ $# -gt 0 ] || refuse "worker needs the name of at least one queue: email, hit or failed"
    for queue in "$@"; do
      case $queue in '' | *[!a-zA-Z0-9_-]*) refuse "'$queue' is not the name of a queue" ;; esac
    done
    supervise TERM php bin/console messenger:consume "$@" --no-interaction \
      "--time-limit=$MAUTIC_WORKER_TIME_LIMIT" "--memory-limit=$MAUTIC_WORKER_MEMORY_LIMIT"
    ;;
  cron)
    supervise TERM php /opt/mautic/cron.php
    ;;
  migrate)
    [ $# -eq 0 ] || refuse "migrate takes no arguments"
    supervise TERM php /opt/mautic/migrate.php
    ;;
  console) supervise TERM php bin/console "$@" ;;
esac
