#!/usr/bin/env bash
# Makes sure that what the tests run beside the server is on this machine:
#
#   MariaDB   mariadbd and mariadb-install-db, unless TEST_MYSQL_URL names a server
#   Node      20 or newer, unless TEST_NODE names a binary
#   OAuth     the npm packages of tests/oidc
#   mariadb-dump  makes a backup that is restored: installed, or unpacked under target/
#   openssl   a server of an old TLS, for tests of failed connections
#   curl, jq, sqlite3  commands of the documents, which tests run
#   clients   the npm packages of tests/clients: a client generated from the specification
#   Python    3.11 or newer, with the packages of tests/oauth and tests/clients in an
#             environment under target/, unless TEST_PYTHON names a Python that has them
#   nginx     the reference of benchmarks: installed, or unpacked under target/
#   Prometheus  it and promtool evaluate the alert rules: installed, or unpacked under target/
#   tinyproxy, microsocks  proxies that providers are reached through: installed, or unpacked
#             under target/
#
# Debian's packages come from apt-get. Where the system's Node is missing or too
# old, tests/oidc/package-lock.json pins one that npm unpacks beside the other
# packages. So the tests look for Node in this order: $TEST_NODE,
# tests/oidc/node_modules/.bin/node, node.
#
# Prints one line for each thing it does, and nothing when there is nothing to do.
set -euo pipefail

repository="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
oidc="$repository/tests/oidc"
PATH="$PATH:/usr/local/sbin:/usr/sbin" # where Debian keeps mariadbd
python="$repository/target/servers/python"
requirements=("$repository/tests/oauth/requirements.txt" "$repository/tests/clients/requirements.txt")
clients="$repository/tests/clients"
script=setup
source "$repository/tests/packages.sh"

# mariadb-install-db needs my_print_defaults, which comes in the client's package.
has_mariadb() { has mariadbd && has mariadb-install-db && has my_print_defaults; }

# What is missing is decided first, so that apt-get runs once.
packages=()
for program in curl jq openssl sqlite3; do
    has "$program" || packages+=("$program")
done
if [[ -z "${TEST_MYSQL_URL:-}" ]] && ! has_mariadb; then
    packages+=(mariadb-server-core mariadb-client-core)
fi

modules=current
if ! modules_current "$oidc"; then
    modules=stale
    has npm || packages+=(npm)
fi

if ! modules_unpacked "$clients" && ! has npm && [[ $modules == current ]]; then
    packages+=(npm)
fi

environment=current
if [[ -z "${TEST_PYTHON:-}" ]] && ! environment_current "$python" "${requirements[@]}"; then
    environment=stale
    makes_environments || packages+=(python3-venv)
fi

if ((${#packages[@]})); then
    install "${packages[@]}"
fi
if [[ $modules == stale ]]; then
    install_modules "$oidc"
fi
if ! modules_unpacked "$clients"; then
    say "npm ci: the packages of tests/clients"
    quietly npm --prefix "$clients" ci
fi
if [[ $environment == stale ]]; then
    install_environment "$python" "${requirements[@]}"
fi

# Installed it would serve at once, on port 80.
nginx="$repository/target/servers/nginx"
if ! has nginx && [[ ! -x "$nginx/usr/sbin/nginx" ]]; then
    unpack nginx "$nginx"
fi

# The same: a service would start.
prometheus="$repository/target/servers/prometheus"
if ! { has prometheus && has promtool; } && [[ ! -x "$prometheus/usr/bin/promtool" ]]; then
    unpack prometheus "$prometheus"
fi

# The whole package would bring Perl.
clients_of_mariadb="$repository/target/servers/mariadb-client"
if [[ -z "${TEST_MYSQL_DUMP:-}" ]] && ! has mariadb-dump && [[ ! -x "$clients_of_mariadb/usr/bin/mariadb-dump" ]]; then
    unpack mariadb-client "$clients_of_mariadb"
fi

# The same: a service would start.
proxies="$repository/target/servers/proxies"
if ! has tinyproxy && [[ ! -x "$proxies/usr/bin/tinyproxy" ]]; then
    unpack tinyproxy-bin "$proxies"
fi
if ! has microsocks && [[ ! -x "$proxies/usr/bin/microsocks" ]]; then
    unpack microsocks "$proxies"
fi
