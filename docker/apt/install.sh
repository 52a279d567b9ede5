#!/bin/sh
# install.sh PACKAGE…: installs Debian's packages in a step of a Dockerfile, and leaves nothing else
# in the image. A package whose name ends in ? is left out where the release has none of that name.
# Versions come from the Debian release of the pinned base image. Two mounts go with it:
#   --mount=type=cache,id=apt-<image>,target=/tmp/apt,sharing=locked
#     lists and packages, so that a build that is run again is quick
#   --mount=type=tmpfs,target=/var/log
set -eu
export DEBIAN_FRONTEND=noninteractive APT_CONFIG=/tmp/apt/apt.conf
# The mount may be another version's.
rm -rf /tmp/apt/bin /tmp/apt/apt.conf.d
mkdir -p /tmp/apt/lists/partial /tmp/apt/cache/archives/partial /tmp/apt/bin
cat > "$APT_CONFIG" <<'CONF'
Dir::State::Lists "/tmp/apt/lists";
Dir::Cache "/tmp/apt/cache";
Dir::Etc::Parts "/tmp/apt/apt.conf.d";
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
# What the base image sets, but for two things: the lists are parsed once, not by each command anew,
# and no questions are collected in advance, since nobody is there to answer them.
cp -R /etc/apt/apt.conf.d /tmp/apt/apt.conf.d
rm -f /tmp/apt/apt.conf.d/docker-clean /tmp/apt/apt.conf.d/70debconf
# Whether somebody has changed a configuration file, nobody needs to be asked here: ucf takes a
# tenth of a second for that, for each of PHP's modules.
cat > /tmp/apt/bin/ucf <<'UCF'
#!/bin/sh
while [ $# -gt 2 ]; do shift; done
[ -e "$2" ] || cp -p "$1" "$2"
UCF
# What packages call again and again, PHP's for each module and each way to run it. Once is enough,
# at the end.
for name in phpenmod phpquery update-ca-certificates; do
  echo '#!/bin/sh' > "/tmp/apt/bin/$name"
done
chmod +x /tmp/apt/bin/*

apt-get update -qq
for package; do
  shift
  case $package in
    *\?)
      package=${package%\?}
      [ -n "$(apt-cache madison "$package")" ] || continue
      ;;
  esac
  set -- "$@" "$package"
done
apt-get install -qq --yes --no-install-recommends "$@"
# What of it Debian's security archive has, for the bill of materials: dpkg does not know where a
# package came from.
mkdir -p /usr/share/mautic-multidev
# shellcheck disable=SC2016  # the first are dpkg's variables, the others awk's
dpkg-query --show --showformat '${Package}\n' | xargs apt-cache policy | awk '
  /^[^ ]/ { name = $1; sub(/:.*/, "", name) }
  /^     [^ ]/ { installed = 0 }
  /^ \*\*\*/ { version = $2; installed = 1 }
  installed && $3 ~ /-security\// { print name, version; installed = 0 }
' | sort -u > /usr/share/mautic-multidev/security-archive
if [ -x /usr/sbin/update-ca-certificates ]; then
  update-ca-certificates
fi
if [ -x /usr/sbin/phpenmod ]; then
  for module in /etc/php/*/mods-available/*.ini; do
    basename "$module" .ini
  done | xargs phpenmod -m -r
fi
rm -rf /var/cache/debconf/*-old /var/lib/dpkg/*-old
# Nothing in these images needs another user's rights.
find / -xdev -type f -perm /6000 -exec chmod ug-s {} +
