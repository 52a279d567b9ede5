#!/bin/sh
# syntax.sh OWN FOLDER PHP: refuses PHP of our own that does not compile, by file and line. What it
# brings of other people's (vendor/, node_modules/) may hold files for another PHP.
set -eu
said=$(mktemp)
# From 8.3 on, PHP takes several files at once; before, it would only look at the first.
many=50
case $3 in 7.* | 8.[012]) many=1 ;; esac
cd "$1"
if find . \( -name vendor -o -name node_modules \) -prune -o -type f -name '*.php' -print0 | sort -z |
  xargs -0 -r -n "$many" -P "$(nproc)" \
    php -n -d short_open_tag=0 -d display_errors=stderr -d log_errors=0 -l >"$said" 2>&1; then
  exit 0
fi
grep -v -e '^No syntax errors' -e '^Errors parsing' -e '^xargs: ' -e '^$' "$said" |
  sed "s#^\(PHP \)\?\(Parse\|Fatal\) error: *\(.*\) in \./\(.*\) on line \([0-9]*\)\$#docker/mautic/$2/\4:\5: \3#" >&2
exit 1
