#!/usr/bin/env bash
# Makes what is released, below target/release-files: an archive of the stripped binary, its unit,
# completions, manual and documents; the Debian package; the list of all crates in it (CycloneDX); checksums.
#
# The console is built first where npm is there, and compiled in. The binary is for this machine's kind; what it needs of the machine that it runs on is printed.
set -euo pipefail
repository="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
cd "$repository"
script=dist
source tests/packages.sh

cargo="${CARGO:-cargo}"
target="${CARGO_TARGET_DIR:-$repository/target}"
tools="$repository/target/tools/cargo"
version="$("$cargo" metadata --no-deps --locked --format-version 1 |
    jq -r '.packages[] | select(.name == "token-server").version')"
host="$(rustc -vV | sed -n 's/^host: //p')"
name="token-server-$version-$host"
out="$repository/target/release-files"

# tool NAME VERSION: a subcommand of cargo, compiled once.
tool() {
    local has_version="cargo-$1 v$2"
    grep -qsF "\"cargo-$1 $2 " "$tools/.crates.toml" && return
    say "cargo install $has_version (some minutes, once)"
    quietly "$cargo" install "cargo-$1" --locked --version "$2" --root "$tools"
}

# linked BINARY: the shared libraries that it loads, and the oldest glibc that has what it calls.
linked() {
    local libraries glibc
    libraries="$(readelf --dynamic --wide "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | paste -sd ' ')"
    if [[ -z "$libraries" ]]; then
        echo "nothing: it is static"
        return
    fi
    glibc="$(readelf --version-info --wide "$1" |
        sed -n 's/.*Name: GLIBC_\([0-9.]*\) .*/\1/p' | sort --version-sort | tail -n 1)"
    echo "$libraries${glibc:+; glibc $glibc or newer}"
}

build_console
tool deb 3.8.0
tool cyclonedx 0.5.9
PATH="$tools/bin:$PATH"

say "cargo build --profile dist (some minutes)"
quietly "$cargo" build --profile dist --locked --package token-server --bin token-server
binary="$target/dist/token-server"
say "linked against $(linked "$binary")"

rm -rf "$out"
archive="$out/$name"
mkdir -p "$archive"
install -m 0755 "$binary" "$archive/"
install -m 0644 README.md CHANGELOG.md LICENSE LICENSE-APACHE LICENSE-MIT \
    packaging/token-server.service "$archive/"
install -D -m 0644 config/default.toml "$archive/config/default.toml"

# The binary writes its completions and its manual; the package takes them from here, too.
written="$repository/target/packaging"
rm -rf "$written"
mkdir -p "$written/completions" "$written/man"
for shell in bash zsh fish; do
    "$binary" completions "$shell" >"$written/completions/token-server.$shell"
done
quietly "$binary" man "$written/man"
chmod -R u=rwX,go=rX "$written"
cp -R "$written/completions" "$written/man" "$archive/"

tar --create --gzip --sort=name --owner=0 --group=0 --numeric-owner \
    --file "$out/$name.tar.gz" --directory "$out" "$name"

say "cargo deb"
quietly cargo-deb --no-build --no-strip --locked --profile dist --output "$out/"

# Beside the manifests, one for each crate of the workspace: the server's is kept.
say "cargo cyclonedx"
quietly cargo-cyclonedx cyclonedx --format json --target "$host" --spec-version 1.5 \
    --override-filename sbom.cdx
mv sbom.cdx.json "$out/$name.cdx.json"
rm -f entity/sbom.cdx.json migration/sbom.cdx.json

rm -r "$archive"
(cd "$out" && sha256sum -- * >SHA256SUMS)
(cd "$out" && ls -l --block-size=K && cat SHA256SUMS)
