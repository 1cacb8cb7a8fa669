#!/usr/bin/env bash
# Runs a command beside a MySQL 9 server of its own: `tests/servers/mysql.sh COMMAND…`.
#
# The command finds the server in TEST_MYSQL_URL; when it ends, so does the server, and its exit
# status is the script's.
set -euo pipefail
script=mysql
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
source "$repository/tests/servers/mysql-root.sh"

work="$(mktemp -d "$root/tmp/run.XXXXXX")"
inside="${work#"$root"}"
server=
stop() {
    [[ -z "$server" ]] || end "$server"
    rm -rf "$work"
}
trap stop EXIT

port="$(free_port)"
options=("${mysqld_options[@]}" "--datadir=$inside/data")
quietly chroot "$root" mysqld "${options[@]}" --initialize-insecure
chroot "$root" mysqld "${options[@]}" --port="$port" --socket="$inside/socket" \
    --pid-file="$inside/pid" >"$work/log" 2>&1 &
server=$!
answers() { [[ -S "$work/socket" ]] && (exec 3<>"/dev/tcp/127.0.0.1/$port"); }
if ! wait_for "MySQL" answers; then
    tail -n 20 "$work/log" >&2
    exit 1
fi
say "$(chroot "$root" mysqld --version | sed 's/^.*Ver //') listens on 127.0.0.1:$port"

export TEST_MYSQL_URL="mysql://root@127.0.0.1:$port"
export TEST_MYSQL_DUMP="chroot $root mysqldump --no-defaults --no-tablespaces"
export TEST_MYSQL_CLIENT="chroot $root mysql --no-defaults"
"$@"
