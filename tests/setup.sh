#!/usr/bin/env bash
# Makes sure that what the tests run beside the server is on this machine:
#
#   MariaDB   mariadbd and mariadb-install-db, unless TEST_MYSQL_URL names a server
#   Node      20 or newer, unless TEST_NODE names a binary
#   OAuth     the npm packages of tests/oidc
#   openssl   a server of an old TLS, for tests of failed connections
#   Python    3.11 or newer, with the packages of tests/oauth in an environment under
#             target/, unless TEST_PYTHON names a Python that has them
#   nginx     the reference of benchmarks: installed, or unpacked under target/
#   Prometheus  it and promtool evaluate the alert rules: installed, or unpacked under target/
#
# Debian's packages come from apt-get. Where the system's Node is missing or too
# old, tests/oidc/package-lock.json pins one that npm unpacks beside the other
# packages. So the tests look for Node in this order: $TEST_NODE,
# tests/oidc/node_modules/.bin/node, node.
#
# Prints one line for each thing it does, and nothing when there is nothing to do.
set -euo pipefail

tests="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
oidc="$tests/oidc"
own_node="$oidc/node_modules/.bin/node"
node_major_wanted=20
PATH="$PATH:/usr/local/sbin:/usr/sbin" # where Debian keeps mariadbd
python="$tests/../target/servers/python"
requirements="$tests/oauth/requirements.txt"
script=setup
source "$tests/packages.sh"

# mariadb-install-db needs my_print_defaults, which comes in the client's package.
has_mariadb() { has mariadbd && has mariadb-install-db && has my_print_defaults; }

# new_enough NODE: the binary runs and is a wanted version.
new_enough() {
    local version
    version="$("$1" --version 2>/dev/null)" || return 1
    version="${version#v}"
    ((${version%%.*} >= node_major_wanted))
}

modules_current() { [[ "$oidc/node_modules/.package-lock.json" -nt "$oidc/package-lock.json" ]]; }

# The environment's Python is a link to the system's, which may be gone.
python_current() { cmp -s "$requirements" "$python/requirements.txt" && "$python/bin/python" -c ''; }

# What is missing is decided first, so that apt-get runs once.
packages=()
has openssl || packages+=(openssl)
if [[ -z "${TEST_MYSQL_URL:-}" ]] && ! has_mariadb; then
    packages+=(mariadb-server-core mariadb-client-core)
fi

system_node=no
if [[ -n "${TEST_NODE:-}" ]] || new_enough node; then
    system_node=yes
fi
modules=current
if ! modules_current || { [[ $system_node == no ]] && ! new_enough "$own_node"; }; then
    modules=stale
    has npm || packages+=(npm)
fi

environment=current
if [[ -z "${TEST_PYTHON:-}" ]] && ! python_current 2>/dev/null; then
    environment=stale
    # Debian parts what makes environments from its Python.
    python3 -c 'import ensurepip, venv' 2>/dev/null || packages+=(python3-venv)
fi

if ((${#packages[@]})); then
    install "${packages[@]}"
    if [[ $system_node == no ]] && new_enough node; then
        system_node=yes # npm brings Debian's Node, which may be new enough
    fi
fi

if [[ $modules == stale ]]; then
    include=(--omit=optional)
    what="the packages of tests/oidc"
    if [[ $system_node == no ]]; then
        include=(--include=optional)
        what+=" and Node"
    fi
    say "npm ci: $what"
    quietly npm --prefix "$oidc" ci "${include[@]}"
    if [[ $system_node == no ]]; then
        # npm 9 drops the package for the other architecture, and with it the
        # link .bin/node that both packages claim.
        quietly npm --prefix "$oidc" rebuild
        if ! new_enough "$own_node"; then
            say "npm has no Node for this machine: install Node $node_major_wanted or newer" >&2
            exit 1
        fi
    fi
fi

if [[ $environment == stale ]]; then
    say "pip install: the packages of tests/oauth"
    quietly python3 -m venv --clear "$python"
    quietly "$python/bin/python" -m pip --disable-pip-version-check install --no-deps \
        --only-binary :all: --requirement "$requirements"
    cp "$requirements" "$python"
fi

# Installed it would serve at once, on port 80.
nginx="$tests/../target/servers/nginx"
if ! has nginx && [[ ! -x "$nginx/usr/sbin/nginx" ]]; then
    unpack nginx "$nginx"
fi

# The same: a service would start.
prometheus="$tests/../target/servers/prometheus"
if ! { has prometheus && has promtool; } && [[ ! -x "$prometheus/usr/bin/promtool" ]]; then
    unpack prometheus "$prometheus"
fi
