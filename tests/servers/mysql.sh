#!/usr/bin/env bash
# Runs a command beside a MySQL 9 server of its own: `tests/servers/mysql.sh COMMAND…`.
#
# Debian keeps MySQL 9 in unstable only, so it runs in a root of its own, which is made once
# under target/ and kept. The command finds the server in TEST_MYSQL_URL; when it ends, so
# does the server, and its exit status is the script's.
set -euo pipefail
script=mysql
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
need_root
has debootstrap || install debootstrap

root="$repository/target/servers/mysql"

if [[ ! -x "$root/usr/sbin/mysqld" ]]; then
    from="$(mirror)"
    say "debootstrap mysql-server-core (about a minute, once)"
    rm -rf "$root"
    mkdir -p "$root"
    quietly debootstrap --variant=minbase --include=mysql-server-core sid "$root" "$from"
fi
echo "127.0.0.1 localhost" >"$root/etc/hosts"

work="$(mktemp -d "$root/tmp/run.XXXXXX")"
inside="${work#"$root"}"
server=
stop() {
    [[ -z "$server" ]] || end "$server"
    rm -rf "$work"
}
trap stop EXIT

port="$(free_port)"
common=(--no-defaults --user=root "--datadir=$inside/data")
quietly chroot "$root" mysqld "${common[@]}" --initialize-insecure
chroot "$root" mysqld "${common[@]}" --port="$port" --bind-address=127.0.0.1 \
    --socket="$inside/socket" --pid-file="$inside/pid" --mysqlx=OFF --secure-file-priv=NULL \
    --max-connections=1000 >"$work/log" 2>&1 &
server=$!
answers() { [[ -S "$work/socket" ]] && (exec 3<>"/dev/tcp/127.0.0.1/$port"); }
if ! wait_for "MySQL" answers; then
    tail -n 20 "$work/log" >&2
    exit 1
fi
say "$(chroot "$root" mysqld --version | sed 's/^.*Ver //') listens on 127.0.0.1:$port"

TEST_MYSQL_URL="mysql://root@127.0.0.1:$port" "$@"
