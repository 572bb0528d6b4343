#!/bin/bash
# The tests command. Without arguments everything, in turn; with a stage's name that stage alone.
#
#   run.sh [STAGE [ARGUMENT...]]
#
#   setup    packages (apt), the Rust peers (cargo install), the guest kernel: what is missing of them
#   fmt      cargo fmt --check
#   clippy   cargo clippy, warnings are errors
#   unit     cargo test of the workspace
#   doc      cargo doc, warnings are errors
#   arrows   which crate may use which
#   deny     cargo deny: licences, sources and bans of the dependencies
#   loom     the models of what threads share
#   bench    the tests of the benchmarks; instructions that a packet costs, by callgrind, beside those recorded last:
#            shown, no reason to fail; arguments: [--record]
#   release  cargo build --release
#   netns    the cases in network namespaces; arguments: [--list] [--jobs N] [NAME...]
#
# Not part of everything, but by its name:
#
#   soak     traffic under reloads, kills and moves; arguments: [MINUTES] (60) [--seed N] [--west IMPLEMENTATION]
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=packages.sh
. "$here/packages.sh"
cd "$root"

stages=(setup fmt clippy unit doc arrows deny loom bench release netns)
tools=(cargo-deny@0.20.2)
sslyze=sslyze==6.3.1
peers=(boringtun-cli@0.7.1 gotatun-cli@0.10.2)

stage_setup() {
  install_missing python3 cc make ip ping fping ethtool iperf3 tcpdump nft wg wg-quick wireguard-go qemu-system-x86_64 valgrind dnsmasq
  install_missing curl openssl testssl slowhttptest
  # A client with a wrong clock, one that is not root's, and what stands for systemd-resolved.
  install_missing faketime setpriv dbus-daemon /usr/lib/python3/dist-packages/{dbus,gi}
  # A client whose key is in a token.
  install_missing softhsm2-util pkcs11-tool
  # The tests of MACsec ask scapy; a station by hand has its ciphers of cryptography.
  install_missing /usr/lib/python3/dist-packages/{scapy,cryptography}
  install_missing h2load
  need_cargo
  install_crates target/peers "${peers[@]}"
  install_crates target/tools "${tools[@]}"
  install_python target/tools/sslyze "$sslyze"
  unpack target/tools/prometheus prometheus usr/bin/promtool
  unpack target/tools/nginx nginx usr/sbin/nginx
  netns-tests/guest/build.sh
}

# Installs crates' programs in a folder, unless those versions are there.
install_crates() {
  local folder=$1 crate
  for crate in "${@:2}"; do
    grep -qs "^\"${crate/@/ } " "$folder/.crates.toml" || cargo_as_user install --root "$folder" --locked "$crate"
  done
}

stage_fmt() { cargo_as_user fmt --all --check; }

stage_clippy() { cargo_as_user clippy --workspace --all-targets -- -D warnings; }

stage_unit() { cargo_as_user test --workspace "$@"; }

stage_doc() { RUSTDOCFLAGS="-D warnings" cargo_as_user doc --workspace --no-deps; }

stage_arrows() {
  [ -x .ci/arrows ] || fail "no .ci/arrows"
  .ci/arrows
}

# Licences, sources and bans. The advisories need a database from the network, so they are not part of this.
stage_deny() {
  PATH="$root/target/tools/bin:$PATH" cargo_as_user deny --offline check bans licenses sources
}

# Models live in modules named loom_tests. A folder of its own: the flag changes every dependency.
stage_loom() {
  local folder packages=() log
  for folder in . tunnels/*; do
    if grep -rqs --include='*.rs' 'mod loom_tests' "$folder/src"; then
      packages+=(-p "$(sed -n 's/^name = "\(.*\)"/\1/p' "$folder/Cargo.toml" | head -1)")
    fi
  done
  [ ${#packages[@]} -gt 0 ] || fail "no module loom_tests anywhere: models are to be checked"
  log=$(mktemp)
  RUSTFLAGS="--cfg loom" LOOM_MAX_PREEMPTIONS=${LOOM_MAX_PREEMPTIONS:-3} \
    cargo_as_user test --target-dir target/loom "${packages[@]}" --lib loom_tests "$@" 2>&1 | tee "$log"
  grep -q '^test result: ok\. [1-9]' "$log" || { rm -f "$log"; fail "no model was checked"; }
  rm -f "$log"
}

# A folder of its own, as for the models. valgrind has no AVX-512, so the processor's own instructions cannot be counted.
stage_bench() {
  (cd bench && PYTHONPATH=../netns-tests python3 -B -m unittest -q measure/*_test.py)
  [ "$(uname -m)" = x86_64 ] || fail "instructions are counted for x86-64-v3, and this is $(uname -m)"
  RUSTFLAGS="-C target-cpu=x86-64-v3" \
    cargo_as_user build --release --locked -p adit-instructions --target-dir target/instructions
  python3 -B bench/instructions/count.py target/instructions/release/adit-instructions "$(cargo_as_user --version)" "$@"
}

# What is released, and the flood of handshakes that a case pours over it.
stage_release() {
  cargo_as_user build --release
  cargo_as_user build --release -p adit-bench --bin flood
}

stage_netns() {
  [ "$(id -u)" = 0 ] || fail "the cases make network namespaces: run them as root"
  cd netns-tests
  exec python3 -B -m cases "$@"
}

stage_soak() {
  [ "$(id -u)" = 0 ] || fail "a soak makes network namespaces: run it as root"
  cd netns-tests
  exec python3 -B -m soak "$@"
}

# Runs one stage in a shell of its own: within a condition bash would pass over a failing command in it.
timed() {
  local start=$SECONDS code=0
  echo "== $1"
  bash "$here/run.sh" only "$@" || code=$?
  echo "== $1: $((SECONDS - start)) s$([ $code = 0 ] || echo ", FAILED")"
  return $code
}

usage() {
  sed -n '2,/^set/{/^set/d; s/^# \{0,1\}//; p}' "$here/run.sh"
  exit 2
}

known() { [[ " ${stages[*]} " == *" $1 "* ]]; }

all() {
  local stage failed=()
  for stage in "${stages[@]}"; do
    timed "$stage" || failed+=("$stage")
    # Without what it needs no other stage can say anything.
    [[ " ${failed[*]} " != *" setup "* ]] || break
  done
  [ ${#failed[@]} = 0 ] || fail "failed: ${failed[*]}"
  echo "all stages passed in $SECONDS s"
}

case ${1:-all} in
  all) all ;;
  only)
    "stage_$2" "${@:3}"
    ;;
  netns)
    timed setup
    [ -n "${ADIT_WIREGUARD:-}" ] || timed release
    timed "$@"
    ;;
  soak)
    [ -n "${ADIT_BINARIES:-}" ] || timed release
    timed "$@"
    ;;
  *)
    known "$1" || usage
    timed "$@"
    ;;
esac
