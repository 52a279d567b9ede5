#!/bin/sh
# add.sh OWN TARGET: lays a folder of our own over one of the release, readable for everybody and
# writable for root alone, whatever the modes in the checkout are.
set -eu
scratch=$(mktemp -d)
cp -R --preserve=timestamps "$1/." "$scratch"
chmod -R u=rwX,go=rX "$scratch"
mkdir -p "$2"
cp -R --remove-destination --preserve=mode,timestamps "$scratch/." "$2/"
rm -rf "$scratch"
