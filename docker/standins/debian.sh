#!/bin/sh
# debian.sh SUITE OUTPUT_TAR: a small Debian base image made from Debian's packages alone, for machines
# that cannot pull debian:<suite>-slim. Load the result with `docker import`.
#
# Environment:
#   DEBIAN_MIRROR           http://deb.debian.org/debian, which is debootstrap's own default
#   DEBIAN_SECURITY_MIRROR  the mirror's address with "-security" appended
#   DEBIAN_KEYRING          /usr/share/keyrings/debian-archive-keyring.gpg
#   SOURCE_DATE_EPOCH       latest time a file may carry; default: the date of the suite's Release file
#   TMPDIR                  /var/tmp; needs 600 MB, and no noexec or nodev mount
# Exit status: 0 done, 1 it failed, 64 wrong arguments, 69 a program or the keyring is missing, 77 not root,
# 130 or 143 interrupted. Nothing is left behind in any case, and OUTPUT_TAR appears only when it is whole.
set -eu

say() { printf 'debian.sh: %s\n' "$*" >&2; }
die() { status=$1; shift; say "$@"; exit "$status"; }

[ $# -eq 2 ] || die 64 "usage: debian.sh SUITE OUTPUT_TAR, for example: debian.sh trixie /tmp/trixie.tar"
suite=$1 output=$2
case $suite in
  '' | [!a-z]* | *[!a-z0-9-]*) die 64 "'$suite' is not the name of a Debian suite (trixie, bookworm)" ;;
esac
case $output in /*) ;; *) output=$PWD/$output ;; esac
[ -d "${output%/*}/" ] || die 64 "the folder of $output does not exist"
[ ! -d "$output" ] || die 64 "$output is a folder; name a file"

mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
mirror=${mirror%/}
security=${DEBIAN_SECURITY_MIRROR:-$mirror-security}
keyring=${DEBIAN_KEYRING:-/usr/share/keyrings/debian-archive-keyring.gpg}

[ "$(id -u)" -eq 0 ] || die 77 "debootstrap needs root: run it as root or with sudo"
for program in debootstrap tar setsid mountpoint; do
  command -v "$program" >/dev/null || die 69 "$program is missing: apt-get install debootstrap tar util-linux"
done
[ -r "$keyring" ] || die 69 "$keyring is missing: apt-get install debian-archive-keyring"

work='' child='' partial=$output.partial.$$
cleanup() {
  status=$?
  trap - EXIT
  trap '' HUP INT TERM
  # The group holds debootstrap's own children (wget, dpkg in the chroot) too.
  [ -z "$child" ] || { kill -TERM "-$child" 2>/dev/null && wait "$child" || :; }
  if [ -n "$work" ]; then
    # An interrupted debootstrap leaves these mounted; rm must never walk into them.
    for mount in proc sys dev/pts dev; do
      ! mountpoint -q "$work/root/$mount" || umount -l "$work/root/$mount"
    done
    rm -rf --one-file-system "$work"
  fi
  rm -f "$partial"
  exit "$status"
}
trap cleanup EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# In a group of its own and in the background, so that a signal is acted upon at once.
run() {
  setsid "$@" >&2 </dev/null &
  child=$!
  status=0
  wait "$child" || status=$?
  child=''
  return "$status"
}

work=$(mktemp -d "${TMPDIR:-/var/tmp}/debian-$suite.XXXXXXXX")
root=$work/root
# The Debian scripts are the same for every suite; an older debootstrap lacks the newer names.
script=$suite
[ -e "/usr/share/debootstrap/scripts/$suite" ] || script=sid

say "$suite from $mirror"
run debootstrap --variant=minbase --force-check-gpg --keyring="$keyring" "$suite" "$root" "$mirror" "$script" \
  || die 1 "debootstrap failed: is $suite a suite of $mirror, and is the mirror reachable?"

release=$(cat "$root"/var/lib/apt/lists/*_Release)
released=$(printf '%s\n' "$release" | sed -n 's/^Date: //p' | head -n 1)
epoch=${SOURCE_DATE_EPOCH:-$(date -d "$released" +%s)}

# What debian:<suite>-slim has: sources with the fixes, no service started by a package, no caches, no documents.
rm -f "$root/etc/apt/sources.list"
cat >"$root/etc/apt/sources.list.d/debian.sources" <<SOURCES
Types: deb
URIs: $mirror
Suites: $suite $suite-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: $security
Suites: $suite-security
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
SOURCES
printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
chmod 755 "$root/usr/sbin/policy-rc.d"
echo force-unsafe-io >"$root/etc/dpkg/dpkg.cfg.d/docker-apt-speedup"
cat >"$root/etc/dpkg/dpkg.cfg.d/docker" <<'DPKG'
# Licences stay.
path-exclude /usr/share/doc/*
path-include /usr/share/doc/*/copyright
path-exclude /usr/share/man/*
path-exclude /usr/share/info/*
path-exclude /usr/share/groff/*
path-exclude /usr/share/lintian/*
path-exclude /usr/share/linda/*
path-exclude /usr/share/locale/*
path-include /usr/share/locale/locale.alias
DPKG
cat >"$root/etc/apt/apt.conf.d/docker-clean" <<'APT'
DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/archives/partial/*.deb /var/cache/apt/*.bin || true"; };
APT::Update::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/archives/partial/*.deb /var/cache/apt/*.bin || true"; };
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
APT
cat >"$root/etc/apt/apt.conf.d/docker-small" <<'APT'
Acquire::Languages "none";
Acquire::GzipIndexes "true";
Apt::AutoRemove::SuggestsImportant "false";
APT

# debootstrap takes the suite as it was released; the fixes since then come from the other two sources.
cp -L /etc/resolv.conf "$root/etc/resolv.conf"
apt_get() {
  run env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive LC_ALL=C \
    ${http_proxy:+"http_proxy=$http_proxy"} ${https_proxy:+"https_proxy=$https_proxy"} \
    chroot "$root" apt-get -qq -o APT::Sandbox::User=root "$@"
}
apt_get update -o APT::Update::Error-Mode=any || die 1 "the sources of $suite cannot be read: $mirror, $security"
apt_get -o Dpkg::Use-Pty=0 -y dist-upgrade || die 1 "the upgrade to the fixes of $suite failed"

cd "$root"
find usr/share/doc -mindepth 2 -not -name copyright -not -type d -delete
find usr/share/locale -mindepth 1 -maxdepth 1 -not -name locale.alias -exec rm -rf {} +
rm -rf usr/share/man/* usr/share/info/* usr/share/groff/* usr/share/lintian/* usr/share/linda/* \
  var/cache/debconf/*-old var/cache/ldconfig/aux-cache \
  var/lib/apt/lists/* var/lib/dpkg/*-old etc/*- debootstrap tmp/* var/tmp/* run/* dev/*
find usr/share/doc -mindepth 1 -type d -empty -delete
find var/log var/cache/apt -type f -delete
# Both belong to the container that starts, not to the image; an empty machine-id means "first boot".
rm -f etc/resolv.conf etc/hostname
: >etc/machine-id
cd /

say "writing $output"
run tar --create --file="$partial" --directory="$root" --sort=name --format=gnu --numeric-owner \
  --mtime="@$epoch" --clamp-mtime --one-file-system . || die 1 "writing $output failed"
mv -f "$partial" "$output"
