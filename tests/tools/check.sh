#!/usr/bin/env bash
# What `make check` looks at beside Rust's own lints. `tests/tools/check.sh NAME…` looks at these
# only:
#
#   versions   one version of Rust is named everywhere
#   licences   of what is built in: licence, source, and what is banned (cargo-deny, deny.toml)
#   unused     dependencies and files that nothing uses (cargo-shear)
#   spelling   of all texts (typos, typos.toml)
#   scripts    of the shell (shellcheck)
#   workflows  actions by hash, least permissions (zizmor); their form (check-jsonschema)
#   compose    docker/compose.yaml, by the schema of the Compose specification (check-jsonschema)
#   openapi    the specification (Redocly, openapi/redocly.yaml)
#   manifests  of Kubernetes, strictly, on three of its versions (kubernetes-validate)
#   advisories on what is built in (cargo-deny): only where it is named, as it needs the network
#
# Installs what is missing, prints a line for each, and what is wrong. Ends with 1 if anything is.
# shellcheck disable=SC2329 # They are called by their names.
set -euo pipefail

repository="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
cd "$repository"
script=check
source tests/tools/install.sh
python_tools

versions() {
    local version minor
    version="$(sed -n 's/^channel = "\([0-9]*\.[0-9]*\.[0-9]*\)"$/\1/p' rust-toolchain.toml)"
    if [[ -z "$version" ]]; then
        echo "rust-toolchain.toml names no version"
        return 1
    fi
    minor="${version%.*}"
    # names PATTERN VERSION FILE...: all that they say of this is that version.
    names() {
        local said
        said="$(git grep -hoE -- "$1" -- "${@:3}" | sort -u)"
        [[ "$said" == "$2" ]] || { echo "${*:3} should say '$2' and says: $said" && return 1; }
    }
    names '^rust-version = .*' "rust-version = \"$minor\"" Cargo.toml &&
        names 'rust:[0-9][0-9.]*' "rust:$version" docker .github &&
        names 'Rust 1\.[0-9.]*[0-9]' "Rust $minor" '*.md' ':!CHANGELOG.md'
}

licences() {
    cargo-deny --locked check --hide-inclusion-graph \
        --deny unmatched-skip --deny license-not-encountered bans licenses sources
}

advisories() { cargo-deny --locked check --hide-inclusion-graph advisories; }

unused() {
    cargo-shear --locked --deny-warnings --check-test-targets &&
        cargo-shear --locked --deny-warnings fuzz
}

spelling() { typos --format brief; }

scripts() { git ls-files -z '*.sh' .ci/run | xargs -0 shellcheck; }

workflows() {
    zizmor --offline --no-progress .github &&
        check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
}

# The schema comes with the tool: nothing is fetched.
compose() { check-jsonschema --builtin-schema vendor.compose-spec docker/compose.yaml; }

openapi() {
    npm_tools &&
        REDOCLY_TELEMETRY=off REDOCLY_SUPPRESS_UPDATE_NOTICE=true \
            "$node" "$modules/@redocly/cli/bin/cli.js" lint openapi/openapi.json \
            --config openapi/redocly.yaml --format stylish
}

manifests() { python tests/tools/manifests.py; }

wrong=0
if (($# == 0)); then
    set -- versions licences unused spelling scripts workflows compose openapi manifests
fi
for check in "$@"; do
    begun="${EPOCHREALTIME/./}"
    if output="$("$check" 2>&1)"; then
        said=good
    else
        said=wrong
        wrong=1
        printf '%s\n' "$output"
    fi
    tenths=$(((${EPOCHREALTIME/./} - begun) / 100000))
    say "$check: $said ($((tenths / 10)).$((tenths % 10)) s)"
done
exit "$wrong"
