# The mautic image with Xdebug, for `inv dev --xdebug` alone. The named context "apt" holds what
# installs packages.
ARG MAUTIC
# hadolint ignore=DL3006  # the digest is part of the argument
FROM ${MAUTIC}
ARG PHP
# hadolint ignore=DL3002  # the user is given back below
USER 0:0
RUN --mount=type=cache,id=apt-mautic,target=/tmp/apt,sharing=locked \
    --mount=type=bind,from=apt,target=/apt \
    --mount=type=tmpfs,target=/var/log \
    sh /apt/install.sh "php$PHP-xdebug" \
 # A log level of 0: that no debugger waits is no news.
 && printf '%s\n' 'xdebug.mode = debug' 'xdebug.start_with_request = trigger' \
      'xdebug.client_host = host.docker.internal' 'xdebug.client_port = 9003' \
      'xdebug.log_level = 0' > /opt/mautic/dev/xdebug.ini
USER 33:33
