# Sourced by scripts that install what is missing. They set `script`, which begins each line.
# shellcheck shell=bash

say() { printf '%s: %s\n' "$script" "$*"; }

has() { command -v "$1" >/dev/null; }

# What is printed of a command; a script may define it again.
plainly() { cat; }

# Runs a command and shows what it printed only if it fails.
quietly() {
    local output
    if ! output="$("$@" 2>&1)"; then
        printf '%s\n' "$output" | plainly >&2
        say "failed: $*" | plainly >&2
        exit 1
    fi
}

# install PACKAGE...: from Debian, or say what to type and stop.
install() {
    local as_root=()
    local get=(apt-get -qq -o DPkg::Lock::Timeout=120)
    if ((EUID != 0)); then
        as_root=(sudo -n)
    fi
    if ! has apt-get; then
        say "install these with your package manager, then try again: $*" >&2
        exit 1
    fi
    if ((EUID != 0)) && ! sudo -n true 2>/dev/null; then
        say "type this, then try again:" >&2
        echo "sudo apt-get update && sudo apt-get install --yes --no-install-recommends $*" >&2
        exit 1
    fi
    say "apt-get install $* (may take a minute)"
    quietly "${as_root[@]}" "${get[@]}" update
    quietly "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        "${get[@]}" install --yes --no-install-recommends "$@"
}
