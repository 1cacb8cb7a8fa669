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

# Sets `get` to an apt-get that may change the system, or says what to type and stops.
as_root() {
    get=(apt-get -qq -o DPkg::Lock::Timeout=120)
    if ! has apt-get; then
        say "install these with your package manager, then try again: $*" >&2
        exit 1
    fi
    if ((EUID == 0)); then
        return
    fi
    if ! sudo -n true 2>/dev/null; then
        say "type this, then try again:" >&2
        echo "sudo apt-get update && sudo apt-get install --yes --no-install-recommends $*" >&2
        exit 1
    fi
    get=(sudo -n env DEBIAN_FRONTEND=noninteractive "${get[@]}")
}

# install PACKAGE...: from Debian, or say what to type and stop.
install() {
    local get
    as_root "$@"
    say "apt-get install $* (may take a minute)"
    quietly "${get[@]}" update
    DEBIAN_FRONTEND=noninteractive quietly "${get[@]}" install --yes --no-install-recommends "$@"
}

# unpack PACKAGE DIRECTORY: its files, from Debian. It is not installed: no service starts.
unpack() {
    local package="$1" directory="$2" get files
    as_root "$package"
    say "apt-get download $package"
    files="$(mktemp -d)"
    quietly "${get[@]}" update
    (cd "$files" && quietly apt-get -qq -o APT::Sandbox::User=root download "$package")
    mkdir -p "$directory"
    quietly dpkg-deb -x "$files"/*.deb "$directory"
    rm -r "$files"
}
