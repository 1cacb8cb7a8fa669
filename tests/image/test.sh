#!/usr/bin/env bash
# Proves the image without a registry: `tests/image/test.sh`, as root, on Debian.
#
# The images that docker/Dockerfile starts from are made here, of Debian's packages and this
# machine's Rust, under the names that it uses. buildah then builds the Dockerfile, unchanged.
# podman runs what came of it as it would be deployed: with a root that is read only, no
# capabilities, and a volume. Prints size and start time. All images are kept below target/image.
#
#   IMAGE_MIB  how large the image may be, unpacked
set -euo pipefail
script=test-image
source "$(dirname "${BASH_SOURCE[0]}")/../servers/common.sh"
need_root
cd "$repository"

limit_mib="${IMAGE_MIB:-30}"
packages=()
for program in buildah podman runc debootstrap curl jq python3; do
    has "$program" || packages+=("$program")
done
((${#packages[@]} == 0)) || install "${packages[@]}"

kept="$repository/target/image"
mkdir -p "$kept"
cat >"$kept/storage.conf" <<EOF
[storage]
driver = "overlay"
graphroot = "$kept/storage"
runroot = "$kept/run"
EOF
open_files="$(ulimit -Hn)"
cat >"$kept/containers.conf" <<EOF
[containers]
netns = "host"
log_driver = "k8s-file"
# The machine may permit no more.
default_ulimits = ["nofile=$open_files:$open_files", "nproc=4096:4096"]
default_sysctls = []
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
EOF
export CONTAINERS_STORAGE_CONF="$kept/storage.conf" CONTAINERS_CONF="$kept/containers.conf"
export BUILDAH_ISOLATION=chroot

image=token-server
base="$(sed -n 's/^FROM \(rust:[^ ]*\) AS build$/\1/p' docker/Dockerfile)"
crates="${CARGO_HOME:-$HOME/.cargo}/registry"

# What the Dockerfile uses of the image of Rust: Debian with a C compiler, certificates, cargo.
make_base() {
    local container root sysroot
    say "debootstrap $base (some minutes, once)"
    container="$(buildah from scratch)"
    root="$(buildah mount "$container")"
    quietly debootstrap --variant=minbase --include=ca-certificates,gcc,libc6-dev \
        "${base##*-}" "$root" "$(mirror)"
    sysroot="$(rustc --print sysroot)"
    cp -a "$sysroot/bin" "$sysroot/lib" "$root/usr/local/"
    mkdir -p "$root/usr/local/cargo/registry"
    buildah unmount "$container" >/dev/null
    buildah config --env CARGO_HOME=/usr/local/cargo --env CARGO_NET_OFFLINE=true "$container"
    quietly buildah commit --rm "$container" "localhost/$base"
}
buildah image exists "localhost/$base" 2>/dev/null ||
    podman image exists "localhost/$base" || make_base

# The build has no network: its crates are this machine's.
quietly cargo fetch --locked
begun="$SECONDS"
say "buildah build -f docker/Dockerfile (some minutes; the dependencies once)"
quietly buildah build --isolation chroot --format docker --layers --pull=never \
    --volume "$crates:/usr/local/cargo/registry" \
    --file docker/Dockerfile --tag "$image" .
say "built in $((SECONDS - begun)) s"

work="$(mktemp -d)"
running=()
provider=
stop() {
    local name
    for name in "${running[@]}"; do
        podman rm --force --volumes "$name" >/dev/null 2>&1 || true
    done
    [[ -z "$provider" ]] || end "$provider"
    podman volume rm --force "$image-test" "$image-empty" >/dev/null 2>&1 || true
    rm -rf "$work"
}
trap stop EXIT

# fail WHAT...
fail() {
    say "failed: $*" >&2
    exit 1
}

# is WHAT SEEN EXPECTED
is() { [[ "$2" == "$3" ]] || fail "$1: $2 instead of $3"; }

# What is in the image.
unpacked="$(podman image mount "$image")"
bytes="$(du --summarize --bytes --apparent-size "$unpacked" | cut -f 1)"
mib="$(awk "BEGIN {printf \"%.1f\", $bytes / 1048576}")"
(cd "$unpacked" && find . ! -type d -printf '%s %m %U %p\n' | sort -rn)
say "unpacked it has $mib MiB"
((bytes <= limit_mib * 1048576)) || fail "it may have $limit_mib MiB"
shells="$(find "$unpacked" -name '*sh' -type f -o -name 'apt*' -o -name 'dpkg*')"
is "a shell or a package manager" "$shells" ""
is "the owner and mode of the volume" "$(stat -c '%u:%g %a' "$unpacked/data")" "10001:10001 700"
is "the owner of the root" "$(stat -c %u "$unpacked")" 0
is "what anybody may write to" "$(find "$unpacked" -perm -o+w ! -type l)" ""
podman image unmount "$image" >/dev/null
is "the user" "$(podman image inspect "$image" --format '{{.Config.User}}')" 10001:10001

# As it is deployed. The network is the machine's, for the provider on loopback.
options=(--network host --read-only --read-only-tmpfs=false --cap-drop all
    --security-opt no-new-privileges
    --env TOKEN_SERVER__UPSTREAM__ALLOWED_NETWORKS=127.0.0.0/8)
port="$(free_port)"
provider_port="$(free_port)"
admin_key="for-this-test-only-$RANDOM$RANDOM-and-long-enough"
url="http://127.0.0.1:$port"

python3 "$repository/tests/image/provider.py" "$provider_port" &
provider=$!

# call PATH [BODY]
call() {
    curl -sS --fail-with-body --max-time 20 -H "Authorization: Bearer $admin_key" \
        ${2:+-H 'Content-Type: application/json' --data "$2"} "$url$1"
}

running+=("$image-serve")
begun="${EPOCHREALTIME/./}"
# Without systemd, podman runs no health check by itself, and says so.
podman run --detach --name "$image-serve" "${options[@]}" --volume "$image-test:/data" \
    --env "TOKEN_SERVER__HTTP__LISTEN=127.0.0.1:$port" --env "TOKEN_SERVER__ADMIN_KEY=$admin_key" \
    "$image" >"$work/run" 2>&1 || fail "podman run: $(cat "$work/run")"
until curl -fsS -o "$work/health" "$url/healthz" 2>/dev/null; do
    (((${EPOCHREALTIME/./} - begun) < 20000000)) || {
        podman logs "$image-serve" >&2
        fail "it does not serve"
    }
    sleep 0.01
done
say "it answers $(((${EPOCHREALTIME/./} - begun) / 1000)) ms after podman run"

pid="$(podman inspect "$image-serve" --format '{{.State.Pid}}')"
is "the user of the process" "$(awk '/^Uid:/ {print $2}' "/proc/$pid/status")" 10001
is "its capabilities" "$(awk '/^CapEff:/ {print $2}' "/proc/$pid/status")" 0000000000000000
awk '$5 == "/" {print $6}' "/proc/$pid/mountinfo" | grep -qE '^ro(,|$)' || fail "the root can be written to"

# Healthy by its own command, as the image says.
podman healthcheck run "$image-serve" >"$work/health" 2>&1 || fail "unhealthy: $(cat "$work/health")"
say "its own health check: $(podman exec "$image-serve" token-server healthcheck)"

realm="{\"id\": \"r\", \"config\": {\"url\": \"http://127.0.0.1:$provider_port/token\", \"method\": \"POST\",
    \"token_path\": \"access_token\", \"expires_in_path\": \"expires_in\"}}"
call /api/realm "$realm" >/dev/null
call /api/secret '{"realm": "r", "key": "k"}' >/dev/null
token() { call '/api/token?realm=r&key=k' >"$work/token"; }
renewed() { token && jq -e '.generation >= 2 and .expires_in_s > 0' "$work/token"; }
wait_for "a renewed token" renewed
say "a renewed token: $(jq -c '{token, generation, expires_in_s}' "$work/token")"

# Unhealthy, too: while it stands still.
kill -STOP "$pid"
code=0
podman exec "$image-serve" token-server healthcheck >"$work/health" 2>&1 || code=$?
kill -CONT "$pid"
is "the health check of a server that stands still ($(cat "$work/health"))" "$code" 1

grace_s="$(sed -n 's/^grace_s = //p' config/default.toml)"
begun="${EPOCHREALTIME/./}"
podman stop --time $((grace_s + 5)) "$image-serve" >"$work/run" 2>&1 || fail "podman stop: $(cat "$work/run")"
ms=$(((${EPOCHREALTIME/./} - begun) / 1000))
((ms < grace_s * 1000)) || fail "it stopped after $ms ms, and has $grace_s s"
is "the exit code after SIGTERM" "$(podman inspect "$image-serve" --format '{{.State.ExitCode}}')" 0
say "it stopped $ms ms after SIGTERM, with 0"

# renews CODE VOLUME: a job beside no server; its summary is in $work/summary.
renews() {
    local code=0
    podman run --rm "${options[@]}" --volume "$2:/data" "$image" renew --all \
        >"$work/summary" 2>"$work/log" || code=$?
    [[ "$code" == "$1" ]] || {
        cat "$work/summary" "$work/log" >&2
        fail "renew ended with $code instead of $1"
    }
    say "renew ended with $1: $(cat "$work/summary" "$work/log" | head -n 1)"
}
renews 0 "$image-test"
is "what was renewed" "$(jq .renewed "$work/summary")" 1
end "$provider"
provider=
renews 1 "$image-test"
is "what failed" "$(jq .failed "$work/summary")" 1
renews 2 "$image-empty"
grep -q "no database" "$work/log" || fail "renew does not say what is missing: $(cat "$work/log")"
say "all is well: $mib MiB unpacked"
