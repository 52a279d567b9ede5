#!/bin/sh
# select-static.sh DOCROOT OUT [all]: copies the public files of Mautic's web root, and nothing
# that PHP would run. The folders and extensions are those that nginx.conf serves.
#   OUT/docroot   the web root
#   OUT/release   the release's own media/images; in the web root a shared volume hides them
set -eu
docroot=$1
out=$2
which=${3:-large}
extensions='css|js|mjs|map|json|png|jpe?g|gif|svg|ico|webp|avif|woff2?|ttf|otf|eot|wav|mp3|ogg|mp4|webm'
folders='app/assets/(css|fonts|images|js|libraries)|app/bundles/[^/]+/Assets|assets|media/(assets|bundles|css|js|libraries)|plugins/[^/]+/Assets|themes'

# copy TARGET FOLDERS-REGEX START…: keeps the times, from which nginx makes its ETags.
copy() {
  target=$1
  regex=$2
  shift 2
  mkdir -p "$target"
  find "$@" -regextype posix-extended -type f \
    -regex "($regex)/.*" -iregex ".*\.($extensions)" \
    -not -iregex '.*\.(php[0-9]*|phtml|phps|phar|pht)\..*' \
    -not -path '*/.*' -not -path '*/node_modules/*' -print0 |
    tar --create --null --files-from=- | tar --extract --directory "$target"
}

cd "$docroot"
set --
for folder in app assets media plugins themes; do
  [ ! -d "$folder" ] || set -- "$@" "$folder"
done
copy "$out/docroot" "$folders" "$@"
[ ! -d media/images ] || copy "$out/release" media/images media/images
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
