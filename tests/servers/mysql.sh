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

# The mirror that this machine takes its own packages from.
mirror() {
    local lists=(/etc/apt/sources.list /etc/apt/sources.list.d/debian.sources)
    { grep -hoE '(https?|file)://[^ ]+/debian/?( |$)' "${lists[@]}" 2>/dev/null || true; } |
        head -n 1 | tr -d ' '
}

if [[ ! -x "$root/usr/sbin/mysqld" ]]; then
    from="$(mirror)"
    if [[ -z "$from" ]]; then
        say "no mirror of Debian is configured for apt" >&2
        exit 1
    fi
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
