#!/usr/bin/env bash
# Runs a command beside a group of three MySQL 9 servers on loopback, by Group Replication, each of
# which takes writes: `tests/servers/group-replication.sh COMMAND…`.
#
# The command finds the nodes in TEST_CLUSTER_URLS, separated by commas, the kind of the cluster in
# TEST_CLUSTER_KIND, their directory in TEST_CLUSTER_DIR, and this script in TEST_CLUSTER_SCRIPT. With
# that set, it breaks them by
#
#   tests/servers/group-replication.sh --kill N     kill -9
#   tests/servers/group-replication.sh --start N    starts it again, and waits until it is online
#
# When the command ends, so do the nodes, and its exit status is the script's.
set -euo pipefail
script="group-replication"
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
source "$repository/tests/servers/mysql-root.sh"
nodes=(1 2 3)
group=3f0c1d52-8b1e-4f43-9d3a-5d6c0b6c2f10

setting() { cat "$TEST_CLUSTER_DIR/$1"; }

# sql N STATEMENT
sql() {
    chroot "$root" mysql --no-defaults --socket="${TEST_CLUSTER_DIR#"$root"}/$1/socket" --user=root \
        --batch --skip-column-names --execute="$2"
}

seeds() {
    local node list=()
    for node in "${nodes[@]}"; do list+=("127.0.0.1:$(setting "$node/group")"); done
    (IFS=,; echo "${list[*]}")
}

online() {
    [[ "$(sql "$1" "SELECT member_state FROM performance_schema.replication_group_members \
        WHERE member_id = @@server_uuid")" == ONLINE ]]
}

# A node that was killed is refused until the others have given it up.
joined() { online "$1" || { sql "$1" "START GROUP_REPLICATION USER = 'root'" && online "$1"; }; }

# run_node N
run_node() {
    local node="$1" home="$TEST_CLUSTER_DIR/$1"
    local inside="${home#"$root"}"
    chroot "$root" mysqld "${mysqld_options[@]}" --datadir="$inside/data" \
        --port="$(setting "$node/port")" --socket="$inside/socket" --pid-file="$inside/pid" \
        --server-id="$node" --log-bin=binlog --gtid-mode=ON --enforce-gtid-consistency=ON \
        --transaction-isolation=READ-COMMITTED --report-host=127.0.0.1 \
        --plugin-load-add=group_replication.so --loose-group-replication-start-on-boot=OFF \
        --loose-group-replication-group-name="$group" \
        --loose-group-replication-communication-stack=XCOM \
        --loose-group-replication-local-address="127.0.0.1:$(setting "$node/group")" \
        --loose-group-replication-group-seeds="$(seeds)" \
        --loose-group-replication-single-primary-mode=OFF \
        --loose-group-replication-enforce-update-everywhere-checks=ON \
        --loose-group-replication-member-expel-timeout=0 \
        --loose-group-replication-recovery-get-public-key=ON >>"$home/log" 2>&1 &
    echo "$!" >"$home/process"
    disown # It may be killed, which is nothing to report.
    wait_for "node $node" sql "$node" "SELECT 1" || return 1
}

# join N
join() {
    if ! wait_for "node $1 in the group" joined "$1"; then
        tail -n 30 "$TEST_CLUSTER_DIR/$1/log" >&2
        return 1
    fi
}

case "${1:-}" in
--kill)
    kill -KILL "$(setting "$2/process")"
    exit
    ;;
--start)
    run_node "$2"
    join "$2"
    exit
    ;;
esac

export TEST_CLUSTER_DIR
TEST_CLUSTER_DIR="$(mktemp -d "$root/tmp/run.XXXXXX")"
stop() {
    local node
    for node in "${nodes[@]}"; do
        [[ ! -e "$TEST_CLUSTER_DIR/$node/process" ]] || end "$(setting "$node/process")"
    done
    rm -rf "$TEST_CLUSTER_DIR"
}
trap stop EXIT

urls=()
for node in "${nodes[@]}"; do
    home="$TEST_CLUSTER_DIR/$node"
    mkdir "$home"
    for use in port group; do free_port >"$home/$use"; done
    quietly chroot "$root" mysqld "${mysqld_options[@]}" --datadir="${home#"$root"}/data" \
        --initialize-insecure
    urls+=("mysql://root@127.0.0.1:$(setting "$node/port")")
done
begun=$SECONDS
for node in "${nodes[@]}"; do run_node "$node"; done
sql 1 "SET GLOBAL group_replication_bootstrap_group = ON; START GROUP_REPLICATION USER = 'root'; \
    SET GLOBAL group_replication_bootstrap_group = OFF"
for node in "${nodes[@]}"; do join "$node"; done
say "MySQL $(sql 1 "SELECT VERSION()"), $(sql 1 "SELECT COUNT(*) FROM \
    performance_schema.replication_group_members WHERE member_state = 'ONLINE'") nodes after $((SECONDS - begun)) s"

export TEST_CLUSTER_URLS TEST_CLUSTER_KIND=group_replication
export TEST_CLUSTER_SCRIPT="$repository/tests/servers/group-replication.sh"
TEST_CLUSTER_URLS="$(IFS=,; echo "${urls[*]}")"
"$@"
