# shellcheck shell=bash
# What run.sh, demo.sh and the benchmarks share: missing packages, and cargo under sudo. To be sourced.

# shellcheck disable=SC2034
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# A plain user's PATH may lack the places where ip, tcpdump and ethtool are.
export PATH="$PATH:/usr/sbin:/sbin"

# Where each program, or file that is none, comes from on Debian.
declare -A package_of=(
  [python3]=python3 [ip]=iproute2 [ping]=iputils-ping [fping]=fping [ethtool]=ethtool [iperf3]=iperf3
  [tcpdump]=tcpdump [nft]=nftables
  [wg]=wireguard-tools [wg-quick]=wireguard-tools [wireguard-go]=wireguard-go [qemu-system-x86_64]=qemu-system-x86
  [cc]=gcc [make]=make [valgrind]=valgrind [dnsmasq]=dnsmasq-base
  [softhsm2-util]=softhsm2 [pkcs11-tool]=opensc
  [faketime]=faketime [dbus-daemon]=dbus-daemon [setpriv]=util-linux
  [/usr/lib/python3/dist-packages/dbus]=python3-dbus [/usr/lib/python3/dist-packages/gi]=python3-gi
  [openvpn]=openvpn [curl]=curl [openssl]=openssl [testssl]=testssl.sh [slowhttptest]=slowhttptest
  [nginx]=nginx-light [/usr/lib/nginx/modules/ngx_stream_module.so]=libnginx-mod-stream [haproxy]=haproxy
  [h2load]=nghttp2-client
  [/usr/share/doc/python3-venv]=python3-venv
  [/usr/lib/python3/dist-packages/scapy]=python3-scapy
  [/usr/lib/python3/dist-packages/cryptography]=python3-cryptography
)

fail() {
  echo "${0##*/}: $*" >&2
  exit 1
}

# Installs the packages of those of the given programs that are missing; says what to do when it cannot.
install_missing() {
  local program missing=()
  for program in "$@"; do
    command -v "$program" >/dev/null || [ -e "$program" ] || missing+=("${package_of[$program]}")
  done
  [ -e /usr/include/stdio.h ] || missing+=(libc6-dev)
  [ ${#missing[@]} -gt 0 ] || return 0
  mapfile -t missing < <(printf '%s\n' "${missing[@]}" | sort -u)
  command -v apt-get >/dev/null || fail "there is no apt here to install what is missing: ${missing[*]}"
  [ "$(id -u)" = 0 ] || fail "these packages are missing; as root: apt-get install ${missing[*]}"
  echo "installing ${missing[*]}"
  local log
  log=$(mktemp)
  if ! { apt_get "$log" install || { apt_get "$log" update && apt_get "$log" install; }; }; then
    tail -5 "$log" >&2
    rm -f "$log"
    fail "apt-get could not install ${missing[*]}"
  fi
  rm -f "$log"
}

# Uses `missing` of its caller.
apt_get() {
  local log=$1
  if [ "$2" = update ]; then
    apt-get update -qq >>"$log" 2>&1
  else
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${missing[@]}" \
      >>"$log" 2>&1 </dev/null
  fi
}

# Unpacks a package in a folder, unless it has the file: installed, it would start a service on this machine.
unpack() {
  local folder=$1 package=$2 file=$3 download
  [ -e "$folder/$file" ] && return 0
  download=$(mktemp -d)
  chmod 755 "$download"
  echo "unpacking $package in $folder"
  (cd "$download" && { apt-get download -qq "$package" || { apt-get update -qq && apt-get download -qq "$package"; }; }) \
    >/dev/null 2>&1 || fail "apt-get could not download $package"
  mkdir -p "$folder"
  dpkg -x "$download"/*.deb "$folder"
  rm -rf "$download"
}

# Installs a Python package's version in a folder of its own, unless it is there.
install_python() {
  local folder=$1 package=$2
  compgen -G "$folder/lib/python3*/site-packages/${package/==/-}.dist-info" >/dev/null && return 0
  as_user python3 -c 'import ensurepip' 2>/dev/null || install_missing /usr/share/doc/python3-venv
  echo "installing $package in $folder"
  as_user python3 -m venv "$folder"
  as_user "$folder/bin/pip" install -q --disable-pip-version-check "$package"
}

# Runs a program; under sudo as the user who called it, so that the toolchain is found and files stay theirs.
as_user() {
  local words=()
  if [ "$(id -u)" = 0 ] && [ -n "${SUDO_USER:-}" ] && [ "$SUDO_USER" != root ]; then
    local home
    home=$(getent passwd "$SUDO_USER" | cut -d: -f6)
    words=(runuser -u "$SUDO_USER" -- env "HOME=$home" "PATH=$home/.cargo/bin:$PATH")
  fi
  PATH="$HOME/.cargo/bin:$PATH" "${words[@]}" "$@"
}

cargo_as_user() { as_user cargo "$@"; }

need_cargo() {
  cargo_as_user --version >/dev/null 2>&1 || fail "no cargo: install Rust first, see https://rustup.rs"
}
