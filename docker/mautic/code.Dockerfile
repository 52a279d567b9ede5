# Mautic's code, whatever image it comes from, in one layout: /var/www/html with its web root in
# docroot/. Only /var/www/html of these images is used.
ARG DEBIAN_IMAGE=debian:trixie-slim
ARG MAUTIC_IMAGE=mautic/mautic:7.2-fpm

# hadolint ignore=DL3006  # the tag or digest is part of the argument
FROM ${MAUTIC_IMAGE} AS mautic

# MAUTIC_IMAGE may hold nothing but code, so the shell comes from Debian.
# hadolint ignore=DL3006
FROM ${DEBIAN_IMAGE} AS layout
RUN --mount=type=bind,from=mautic,source=/,target=/mautic <<'EOF'
set -eu
project=/mautic/var/www/html
mkdir -p /overlay
if [ -f "$project/docroot/index.php" ]; then
  exit 0
fi
if [ ! -f "$project/index.php" ]; then
  echo "MAUTIC_IMAGE has no Mautic in /var/www/html: neither docroot/index.php nor index.php" >&2
  exit 1
fi
# A plain tree: the web root is the project itself.
ln -s . /overlay/docroot
EOF

FROM mautic AS release
COPY --from=layout /overlay/ /var/www/html/

# What is public of our own is in here; nginx takes it from there, in a layer after the release's. The
# modes are still those of the checkout: nothing of this is in an image as it is.
FROM scratch AS own
COPY plugins/ /plugins/
COPY themes/ /themes/
