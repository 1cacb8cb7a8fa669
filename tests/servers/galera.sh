#!/usr/bin/env bash
# Runs a command beside a Galera cluster of three MariaDB nodes on loopback:
# `tests/servers/galera.sh COMMAND…`.
#
# The command finds the nodes in TEST_CLUSTER_URLS, separated by commas, the kind of the cluster in
# TEST_CLUSTER_KIND, their directory in TEST_CLUSTER_DIR, and this script in TEST_CLUSTER_SCRIPT. With
# that set, it breaks them by
#
#   tests/servers/galera.sh --kill N     kill -9
#   tests/servers/galera.sh --start N    starts it again, and waits until it is synced
#
# When the command ends, so do the nodes, and its exit status is the script's.
set -euo pipefail
script=galera
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
need_root
nodes=(1 2 3)
# The state transfer refuses to run as root.
user=mysql
provider=/usr/lib/galera/libgalera_smm.so

setting() { cat "$TEST_CLUSTER_DIR/$1"; }

# sql N STATEMENT
sql() { mariadb --no-defaults --protocol=socket --socket="$TEST_CLUSTER_DIR/$1/socket" --user=root --batch --skip-column-names --execute="$2"; }

synced() { [[ "$(sql "$1" "SHOW STATUS LIKE 'wsrep_local_state_comment'")" == *Synced ]]; }

# run_node N ADDRESS: what it connects to; none makes a new cluster.
run_node() {
    local node="$1" address="$2" home="$TEST_CLUSTER_DIR/$1" options
    options="gmcast.listen_addr=tcp://127.0.0.1:$(setting "$node/gmcast")"
    options+=";ist.recv_addr=127.0.0.1:$(setting "$node/ist");gcache.size=32M"
    setpriv --reuid="$user" --regid="$user" --clear-groups mariadbd --no-defaults \
        --datadir="$home/data" --socket="$home/socket" --pid-file="$home/pid" \
        --port="$(setting "$node/port")" --bind-address=127.0.0.1 --max-connections=1000 \
        --binlog-format=ROW --default-storage-engine=InnoDB --innodb-autoinc-lock-mode=2 \
        --innodb-flush-log-at-trx-commit=1 \
        --wsrep-on=ON --wsrep-provider="$provider" --wsrep-cluster-name=token-server-tests \
        --wsrep-cluster-address="gcomm://$address" --wsrep-node-name="node$node" \
        --wsrep-node-address="127.0.0.1:$(setting "$node/gmcast")" \
        --wsrep-sst-method=rsync --wsrep-sst-receive-address="127.0.0.1:$(setting "$node/sst")" \
        --wsrep-provider-options="$options" >>"$home/log" 2>&1 &
    echo "$!" >"$home/process"
    disown # It may be killed, which is nothing to report.
    if ! wait_for "node $node" synced "$node"; then
        tail -n 30 "$home/log" >&2
        return 1
    fi
}

# The other nodes, as a new one finds them.
others() {
    local node list=()
    for node in "${nodes[@]}"; do
        [[ "$node" == "$1" ]] || list+=("127.0.0.1:$(setting "$node/gmcast")")
    done
    (IFS=,; echo "${list[*]}")
}

case "${1:-}" in
--kill)
    kill -KILL "$(setting "$2/process")"
    exit
    ;;
--start)
    run_node "$2" "$(others "$2")"
    exit
    ;;
esac

missing=()
has mariadbd && has wsrep_sst_rsync || missing+=(mariadb-server)
[[ -e "$provider" ]] || missing+=(galera-4)
for tool in rsync lsof socat; do has "$tool" || missing+=("$tool"); done
((${#missing[@]} == 0)) || install "${missing[@]}"

export TEST_CLUSTER_DIR
TEST_CLUSTER_DIR="$(mktemp -d)"
stop() {
    local node
    for node in "${nodes[@]}"; do
        [[ ! -e "$TEST_CLUSTER_DIR/$node/process" ]] || end "$(setting "$node/process")"
    done
    rm -rf "$TEST_CLUSTER_DIR"
}
trap stop EXIT
chmod 755 "$TEST_CLUSTER_DIR"

urls=()
for node in "${nodes[@]}"; do
    home="$TEST_CLUSTER_DIR/$node"
    mkdir "$home"
    for use in port gmcast ist sst; do free_port >"$home/$use"; done
    chown "$user:$user" "$home"
    quietly setpriv --reuid="$user" --regid="$user" --clear-groups mariadb-install-db \
        --no-defaults --auth-root-authentication-method=normal --skip-test-db \
        --datadir="$home/data"
    urls+=("mysql://root@127.0.0.1:$(setting "$node/port")")
done
begun=$SECONDS
run_node 1 ""
run_node 2 "$(others 2)"
run_node 3 "$(others 3)"
say "$(sql 1 "SELECT VERSION()"), $(sql 1 "SHOW STATUS LIKE 'wsrep_cluster_size'" | cut -f 2) nodes after $((SECONDS - begun)) s"

export TEST_CLUSTER_URLS TEST_CLUSTER_KIND=galera
export TEST_CLUSTER_SCRIPT="$repository/tests/servers/galera.sh"
TEST_CLUSTER_URLS="$(IFS=,; echo "${urls[*]}")"
"$@"
