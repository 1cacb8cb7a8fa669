#!/usr/bin/env bash
# Prints the section of CHANGELOG.md of a version, which is the text of its release:
# `packaging/changelog.sh VERSION`. Fails where there is none.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

section="$(awk -v heading="## [$1]" '
    /^## / { within = index($0, heading) == 1; next }
    within' CHANGELOG.md)"
if [[ -z "${section//[[:space:]]/}" ]]; then
    echo "CHANGELOG.md has no section of version $1" >&2
    exit 1
fi
printf '%s\n' "$section"
