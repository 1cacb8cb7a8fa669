#!/usr/bin/env bash
# Walks through the console in Chromium, on SQLite and on MariaDB, and makes pictures of its pages in
# console/screenshots/. `tests/console.sh short` is the way to a first token and one look at each page, on SQLite.
#
# Installs Chromium, unless it is there or CHROMIUM names one, MariaDB, unless TEST_MYSQL_URL names a server, and an
# OpenID provider.
# The server is TOKEN_SERVER_BIN or target/debug/token-server; the console must be in it, or CONSOLE_DIST names its folder.
set -euo pipefail
script=console
source "$(dirname "${BASH_SOURCE[0]}")/servers/common.sh"

has_chromium() {
    [[ -n "${CHROMIUM:-}" ]] || has chromium || has chromium-browser || has google-chrome
}
# mariadb-install-db needs my_print_defaults, which comes in the client's package.
has_mariadb() { has mariadbd && has mariadb-install-db && has my_print_defaults; }

packages=()
has_chromium || packages+=(chromium fonts-noto-cjk)
has openssl || packages+=(openssl)
if [[ "${1:-}" == short ]]; then
    unset TEST_MYSQL_URL
else
    # The walks make their databases with its client.
    has mariadb || packages+=(mariadb-client-core)
    [[ -n "${TEST_MYSQL_URL:-}" ]] || has_mariadb || packages+=(mariadb-server-core mariadb-client-core)
fi
((${#packages[@]} == 0)) || install "${packages[@]}"

walks=(npm --prefix "$repository/console" run)
if [[ "${1:-}" == short ]]; then
    WALKS=short exec "${walks[@]}" e2e -- first_token pages
fi
# The provider of the sign-in by OpenID Connect.
modules_current "$repository/tests/oidc" || install_modules "$repository/tests/oidc"

server=
work="$(mktemp -d)"
stop() {
    [[ -z "$server" ]] || end "$server"
    rm -rf "$work"
}
trap stop EXIT
if [[ -z "${TEST_MYSQL_URL:-}" ]]; then
    options=(--no-defaults "--datadir=$work/data")
    ((EUID != 0)) || options+=(--user=root)
    port="$(free_port)"
    export TMPDIR="$work"
    quietly mariadb-install-db "${options[@]}" --auth-root-authentication-method=normal --skip-test-db
    mariadbd "${options[@]}" --skip-log-bin --socket="$work/socket" --port="$port" --bind-address=127.0.0.1 \
        2>"$work/log" &
    server=$!
    answers() { (exec 3<>"/dev/tcp/127.0.0.1/$port"); }
    if ! wait_for MariaDB answers; then
        tail -n 20 "$work/log" >&2
        exit 1
    fi
    export TEST_MYSQL_URL="mysql://root@127.0.0.1:$port"
fi
"${walks[@]}" e2e
"${walks[@]}" screenshots
