#!/bin/sh
# add.sh OWN TARGET: lays a folder of our own over one of the release. The modes in the checkout depend
# on somebody's umask and on git's settings, so they count for nothing: files are 0644, what is meant to
# be run (it begins with #! or is an ELF program) and folders 0755, and all is root's. Folders that hold
# nothing are left out, as git leaves them out.
set -eu
scratch=$(mktemp -d)
cp -R --preserve=timestamps "$1/." "$scratch/own"
mkdir -p "$2"
cd "$scratch/own"
find . -mindepth 1 -type d -empty -delete
find . -type d -exec chmod 00755 {} +
find . -type f -exec chmod 644 {} +
find . -type f -exec awk 'FNR == 1 { if (/^(#!|\177ELF)/) printf "%s%c", FILENAME, 0; nextfile }' {} + |
  xargs -0 -r chmod 755
cd "$OLDPWD"
cp -R --remove-destination --preserve=mode,timestamps "$scratch/own/." "$2/"
rm -rf "$scratch"
