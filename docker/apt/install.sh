#!/bin/sh
# install.sh PACKAGE…: installs Debian's packages in a step of a Dockerfile, and leaves nothing else
# in the image. A package whose name ends in ? is left out where the release has none of that name.
# Versions come from the Debian release of the pinned base image. Two mounts go with it:
#   --mount=type=cache,id=apt-<image>,target=/tmp/apt,sharing=locked
#     lists and packages, so that a build that is run again is quick
#   --mount=type=tmpfs,target=/var/log
set -eu
export DEBIAN_FRONTEND=noninteractive APT_CONFIG=/tmp/apt/apt.conf
mkdir -p /tmp/apt/lists/partial /tmp/apt/cache/archives/partial /tmp/apt/bin
cat > "$APT_CONFIG" <<'CONF'
Dir::State::Lists "/tmp/apt/lists";
Dir::Cache "/tmp/apt/cache";
APT::Sandbox::User "root";
Dpkg::Use-Pty "0";
DPkg::Path "/tmp/apt/bin:/usr/sbin:/usr/bin:/sbin:/bin";
DPkg::Options {
  "--force-unsafe-io";
  "--path-exclude=/usr/share/doc/*";
  "--path-include=/usr/share/doc/*/copyright";
  "--path-exclude=/usr/share/man/*";
  "--path-exclude=/usr/share/locale/*";
};
CONF
# The lists are parsed once, not by each command anew; apt.conf.d of Debian's images forbids it, and
# wins over the file above.
keep=Dir::Cache::pkgcache=pkgcache.bin
# Whether somebody has changed a configuration file, nobody needs to be asked here: ucf takes a
# tenth of a second for that, for each of PHP's modules.
cat > /tmp/apt/bin/ucf <<'UCF'
#!/bin/sh
while [ $# -gt 2 ]; do shift; done
[ -e "$2" ] || cp -p "$1" "$2"
UCF
chmod +x /tmp/apt/bin/ucf

apt-get update -qq -o "$keep"
for package; do
  shift
  case $package in
    *\?)
      package=${package%\?}
      [ -n "$(apt-cache -o "$keep" madison "$package")" ] || continue
      ;;
  esac
  set -- "$@" "$package"
done
apt-get install -qq -o "$keep" --yes --no-install-recommends "$@"
rm -rf /var/cache/debconf/*-old /var/lib/dpkg/*-old
# Nothing in these images needs another user's rights.
find / -xdev -type f -perm /6000 -exec chmod ug-s {} +
