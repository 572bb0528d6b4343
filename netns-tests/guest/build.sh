#!/bin/bash
# Makes a kernel and an initramfs for QEMU from Debian packages: the stock kernel as a peer for the tests.
# usage: build.sh [CACHE]        default: $ADIT_GUEST_CACHE, else target/guest of the repository
# Needs apt-get, dpkg and python3. Packages are only downloaded and unpacked; nothing is installed on the host.
# A finished cache is kept until these files change; FORCE=1 builds anew, with newer packages.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${1:-${ADIT_GUEST_CACHE:-$here/../../target/guest}}
mkdir -p "$cache"
cache=$(cd "$cache" && pwd)
exec 9>"$cache/lock"
flock -w 600 9 || { echo "guest: another build holds $cache" >&2; exit 1; }

want=$(cat "$here"/{build.sh,mkinitramfs.py,packages,binaries,modules,init,agent} | sha256sum | cut -c1-16)
if [ "${FORCE:-0}" != 1 ] && [ "$(cat "$cache/stamp" 2>/dev/null)" = "$want" ] \
  && [ -s "$cache/kernel" ] && [ -s "$cache/initramfs" ]; then
  echo "guest: up to date ($(cat "$cache/version"))"
  exit 0
fi
rm -f "$cache/stamp"

# The meta package names the image of the day. Lists may be absent or too old: then ask the mirror once.
image_of_today() {
  LC_ALL=C apt-cache depends linux-image-cloud-amd64 2>/dev/null \
    | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)$/\1/p' | head -1
}
image=$(image_of_today)
if [ -z "$image" ]; then apt-get update -qq; image=$(image_of_today); fi
[ -n "$image" ] || { echo "guest: apt knows no linux-image-cloud-amd64" >&2; exit 1; }

work=$(mktemp -d "$cache/work.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/debs/partial" "$work/stage"
: > "$work/status"
mapfile -t packages < <(grep -v '^#' "$here/packages")
# An empty dpkg status makes apt fetch every dependency, whatever the host has installed.
download() {
  cd "$work/debs"
  apt-get -qq -o Dir::State::status="$work/status" -o Dir::Cache::archives="$work/debs" -o Debug::NoLocking=1 \
    -o APT::Sandbox::User=root -y --no-install-recommends --download-only install "${packages[@]}" </dev/null \
    && apt-get -qq -o APT::Sandbox::User=root download "$image"
}
log="$cache/apt.log"
(download) >"$log" 2>&1 || { apt-get update -qq; (download) >"$log" 2>&1; } || { tail -5 "$log" >&2; exit 1; }

for deb in "$work/debs"/*.deb; do dpkg -x "$deb" "$work/stage"; done
python3 "$here/mkinitramfs.py" "$work/stage" "$work/root" "$cache/initramfs"
cp "$work"/stage/boot/vmlinuz-* "$cache/kernel"
echo "$image" > "$cache/version"
echo "$want" > "$cache/stamp"
echo "guest: built with $image in $cache"
