#!/bin/sh
# add.sh OWN TARGET: lays a folder of our own over one of the release. The modes in the checkout depend
# on somebody's umask and on git's settings, so they count for nothing: files are 0644, what is meant to
# be run (it begins with #! or is an ELF program) and folders 0755, and all is root's. Folders that hold
# nothing are left out, as git leaves them out. A link of ours that leads to nothing is refused: only
# here it is known what the release has.
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
# Themes are out of sight where plugins are added.
unseen=-
[ "${2##*/}" != plugins ] || unseen=$(realpath -m "$2/../themes")
# shellcheck disable=SC2016 # the inner shell expands it
find "$scratch/own" -type l -printf '%P\0' | xargs -0 -r sh -c '
  target=$1 unseen=$2
  shift 2
  for link do
    [ ! -e "$target/$link" ] || continue
    case $(realpath -m "$target/$link") in
      "$unseen"/*) continue ;;
    esac
    echo "docker/mautic/${target##*/}/$link is a link to $(readlink "$target/$link"), which is not in the image" >&2
    exit 1
  done' sh "$2" "$unseen"
rm -rf "$scratch"
