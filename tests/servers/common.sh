# Sourced by the scripts that start servers or make roots of Debian.
# shellcheck shell=bash

repository="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
source "$repository/tests/packages.sh"
PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
patience_s=120

# A port on loopback that nobody listens on.
free_port() {
    local port
    while :; do
        port=$((20000 + RANDOM % 12000))
        (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
    done
    echo "$port"
}

# wait_for WHAT COMMAND...: until it succeeds.
wait_for() {
    local what="$1" end=$((SECONDS + patience_s))
    shift
    until "$@" >/dev/null 2>&1; do
        if ((SECONDS >= end)); then
            say "$what did not come within $patience_s s" >&2
            return 1
        fi
        sleep 0.2
    done
}

# end PID: SIGTERM, and wait.
end() {
    kill -TERM "$1" 2>/dev/null || return 0
    while kill -0 "$1" 2>/dev/null; do sleep 0.1; done
}

need_root() {
    if ((EUID != 0)); then
        say "must be run by root: it makes other users' processes and a root of its own" >&2
        exit 1
    fi
}

# The mirror of Debian that this machine takes its own packages from.
mirror() {
    local lists=(/etc/apt/sources.list /etc/apt/sources.list.d/debian.sources) found
    found="$({ grep -hoE '(https?|file)://[^ ]+/debian/?( |$)' "${lists[@]}" 2>/dev/null || true; } |
        head -n 1 | tr -d ' ')"
    if [[ -z "$found" ]]; then
        say "no mirror of Debian is configured for apt" >&2
        return 1
    fi
    echo "$found"
}
