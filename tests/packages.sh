# Sourced by scripts that install what is missing. They set `script`, which begins each line, and
# `repository`.
# shellcheck shell=bash disable=SC2154

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

# Builds the console, which `cargo build` compiles in, or says that this machine cannot.
build_console() {
    if has npm; then
        say "make console"
        quietly make console
    elif [[ -f console/dist/index.html ]]; then
        say "npm is missing: the console is taken as it is in console/dist"
    else
        say "npm is missing: what is built has no console; install Node 20 or newer for one" >&2
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

node_major_wanted=20

# new_enough NODE: the binary runs and is a wanted version.
new_enough() {
    local version
    version="$("$1" --version 2>/dev/null)" || return 1
    version="${version#v}"
    ((${version%%.*} >= node_major_wanted))
}

# has_system_node: the machine, or whoever runs this, brings a Node that is new enough.
has_system_node() { [[ -n "${TEST_NODE:-}" ]] || new_enough node; }

# modules_unpacked FOLDER: what its package-lock.json names is unpacked.
modules_unpacked() { [[ "$1/node_modules/.package-lock.json" -nt "$1/package-lock.json" ]]; }

# modules_current FOLDER: what its package-lock.json names is unpacked, with a Node where one is needed.
modules_current() {
    modules_unpacked "$1" &&
        { has_system_node || new_enough "$1/node_modules/.bin/node"; }
}

# install_modules FOLDER: what its package-lock.json names. Where the system's Node is missing or
# too old, this includes the one that is pinned there.
install_modules() {
    local include=(--omit=optional) what="the packages of ${1#"$repository/"}"
    if ! has_system_node; then
        include=(--include=optional)
        what+=" and Node"
    fi
    say "npm ci: $what"
    quietly npm --prefix "$1" ci "${include[@]}"
    if ! has_system_node; then
        # npm 9 drops the package for the other architecture, and with it the
        # link .bin/node that both packages claim.
        quietly npm --prefix "$1" rebuild
        if ! new_enough "$1/node_modules/.bin/node"; then
            say "npm has no Node for this machine: install Node $node_major_wanted or newer" >&2
            exit 1
        fi
    fi
}

# environment_current FOLDER REQUIREMENTS...: Python's environment there has these packages. Its
# Python is a link to the system's, which may be gone.
environment_current() {
    cat "${@:2}" | cmp -s - "$1/requirements.txt" && "$1/bin/python" -c '' 2>/dev/null
}

# Debian parts what makes environments from its Python.
makes_environments() { python3 -c 'import ensurepip, venv' 2>/dev/null; }

# install_environment FOLDER REQUIREMENTS...
install_environment() {
    local files=("${@:2}")
    say "pip install: ${files[*]#"$repository/"}"
    quietly python3 -m venv --clear "$1"
    quietly "$1/bin/python" -m pip --disable-pip-version-check install --no-deps \
        --only-binary :all: "${files[@]/#/--requirement=}"
    cat "${files[@]}" >"$1/requirements.txt"
}
