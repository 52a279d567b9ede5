#!/bin/sh
# select-static.sh DOCROOT OUT [all [RELEASE]]: copies the public files of Mautic's web root, and
# nothing that PHP would run. The folders and extensions are those that nginx.conf serves. What PHP
# reads through a link is copied as a file, since nginx follows none; RELEASE is the web root that
# DOCROOT will lie over, where its links may lead, too.
#   OUT/docroot   the web root
#   OUT/release   the release's own media/images; in the web root a shared volume hides them
set -eu
docroot=$1
out=$2
which=${3:-large}
release=${4:-}
extensions='css|js|mjs|map|json|png|jpe?g|gif|svg|ico|webp|avif|woff2?|ttf|otf|eot|wav|mp3|ogg|mp4|webm'
folders='app/assets/(css|fonts|images|js|libraries)|app/bundles/[^/]+/Assets|assets|media/(assets|bundles|css|js|libraries)|plugins/[^/]+/Assets|themes'

newline='
'
# How many links, each behind another one, are followed; two may lead to each other.
links_deep=3

# public FOLDERS-REGEX START…: finds the files that may be served, by their names.
public() {
  regex=$1
  shift
  find -H "$@" -regextype posix-extended -type f \
    -regex "($regex)/.*" -iregex ".*\.($extensions)" \
    -not -iregex '.*\.(php[0-9]*|phtml|phps|phar|pht)\..*' \
    -not -path '*/.*' -not -path '*/node_modules/*' -print0
}

# linked DEPTH ROOT FOLDERS-REGEX START…: finds the same behind links that stay in a root. A file counts
# by its own name as well: no link makes a style sheet of a program.
linked() {
  depth=$1
  root=$2
  regex=$3
  shift 3
  [ "$depth" -gt 0 ] || return 0
  find -H "$@" -type l -not -path "*$newline*" | while IFS= read -r link; do
    real=$(realpath -e "$link" 2>/dev/null) || continue
    case $real in
      */.*) continue ;;
      "$root"/*) ;;
      *) continue ;;
    esac
    case $(realpath "$(dirname "$link")")/ in
      "$real"/*) continue ;; # without an end
    esac
    if [ -d "$real" ]; then
      public "$regex" "$link"
      (linked "$((depth - 1))" "$root" "$regex" "$link/")
    elif [ "$(public '.*' "$real" | wc -c)" -gt 0 ]; then
      public "$regex" "$link"
    fi
  done
}

# copy TARGET ROOT FOLDERS-REGEX START…: keeps the times, from which nginx makes its ETags.
copy() {
  target=$1
  root=$(realpath "$2")
  regex=$3
  shift 3
  mkdir -p "$target"
  {
    public "$regex" "$@"
    linked "$links_deep" "$root" "$regex" "$@"
  } | tar --create --dereference --hard-dereference --null --files-from=- | tar --extract --directory "$target"
}

cd "$docroot"
set --
for folder in app assets media plugins themes; do
  [ ! -d "$folder" ] || set -- "$@" "$folder"
done
copy "$out/docroot" . "$folders" "$@"

# Links that lead to what this web root will lie over: of each one in its place that leads there.
if [ -n "$release" ] && [ $# -gt 0 ]; then
  scratch=$(mktemp -d)
  find "$@" -type l -not -path "*$newline*" | while IFS= read -r link; do
    place=$(realpath -m --relative-to=. "$link")
    if [ ! -e "$link" ] && [ -e "$release/$place" ]; then
      mkdir -p "$scratch/$(dirname "$link")"
      ln -s "$(realpath "$release/$place")" "$scratch/$link"
    fi
  done
  (
    cd "$scratch"
    # None of these folders begins with a hyphen, and names count from here on.
    # shellcheck disable=SC2035
    [ -z "$(ls)" ] || copy "$out/docroot" "$release" "$folders" *
  )
  rm -r "$scratch"
fi

[ ! -d media/images ] || copy "$out/release" . media/images media/images
for file in favicon.ico robots.txt; do
  [ ! -f "$file" ] || cp -p "$file" "$out/docroot/"
done
# where the shared volumes are mounted
mkdir -p "$out/docroot/media/images" "$out/docroot/media/files" "$out/release"
find "$out" -type d -exec chmod 755 {} +
find "$out" -type f -exec chmod 644 {} +

# Text is compressed once here instead of at every request (gzip_static): large files, or all that may
# lie over a large one, whose compressed twin has to be replaced with it.
set --
[ "$which" = all ] || set -- -size +1k
find "$out" -type f "$@" -regextype posix-extended -iregex '.*\.(css|js|mjs|map|json|svg|ttf|otf|eot)' \
  -print0 | xargs -0 -r -n 64 -P 2 gzip -9 --keep --no-name
echo "static files: $(find "$out" -type f ! -name '*.gz' | wc -l), $(du -sh "$out" | cut -f1)"
