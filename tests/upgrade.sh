#!/usr/bin/env bash
# Runs a command with the server of an earlier commit beside: `tests/upgrade.sh COMMIT COMMAND…`.
#
# An empty COMMIT is the last release before this one, from which most will come. Before there is any, it is the
# last commit with another schema: what the two do on one database differs most there.
#
# It is built once, from Git, under target/upgrade, and the command finds it in TEST_EARLIER_BINARY.
set -euo pipefail
repository="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
cd "$repository"
script=upgrade
source tests/packages.sh

earlier="$1"
if [[ -z "$earlier" ]]; then
    earlier="$(git describe --tags --abbrev=0 --match 'v[0-9]*' HEAD^ 2>/dev/null)" ||
        earlier="$(git rev-list --max-count=1 HEAD -- migration/src)^"
    say "from $earlier"
fi
commit="$(git rev-parse --verify "$earlier^{commit}")"
shift
folder="$repository/target/upgrade/$commit"
binary="$folder/token-server"
if [[ ! -x "$binary" ]]; then
    sources="$(mktemp -d)"
    trap 'rm -rf "$sources"' EXIT
    say "builds the server of ${commit:0:12} (some minutes, once)"
    git archive "$commit" | tar -x -C "$sources"
    (cd "$sources" && CARGO_TARGET_DIR="$repository/target/upgrade/build" \
        cargo build --locked --package token-server --bin token-server)
    mkdir -p "$folder"
    cp "$repository/target/upgrade/build/debug/token-server" "$binary"
fi
TEST_EARLIER_BINARY="$binary" "$@"
