#!/bin/bash
# The demonstration: two sites across an internet, all on this machine, with real traffic through adit.
#
#   sudo netns-tests/demo.sh
#
# Needs Debian 12 or alike and Rust; installs the rest by apt, builds adit, and leaves nothing behind but that.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=packages.sh
. "$here/packages.sh"
cd "$root"

[ "$(id -u)" = 0 ] || fail "it makes network namespaces, so it has to be run as root: sudo $0"
install_missing python3 cc make ip fping ethtool iperf3 wg

if [ -z "${ADIT_BINARIES:-}" ]; then
  need_cargo
  echo "building adit (a few minutes when it is the first time)"
  # In the background, so that a signal to this script ends the build as well.
  cargo_as_user build --release --quiet --bin aditd --bin aditctl &
  build=$!
  trap 'kill "$build" 2>/dev/null; wait "$build"; exit 130' INT TERM HUP
  wait "$build" || fail "the build failed"
  trap - INT TERM HUP
fi
exec python3 -B "$here/demo.py"
