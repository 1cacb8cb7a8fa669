#!/usr/bin/env bash
# Tries the Debian package of `make dist` in a fresh root of Debian: `tests/package/test.sh`, as root.
#
# It is installed, its unit is judged by systemd, and the server is started as the unit says (its user,
# its directory, its command). It serves, is upgraded to a newer version with its data and its
# configuration, is removed, and is purged without a trace. The root is made once and kept below
# target/package.
set -euo pipefail
script=test-package
source "$(dirname "${BASH_SOURCE[0]}")/../servers/common.sh"
need_root
cd "$repository"
packages=()
for program in debootstrap curl jq dpkg-deb; do
    has "$program" || packages+=("$program")
done
((${#packages[@]} == 0)) || install "${packages[@]}"

kept="$repository/target/package"
mkdir -p "$kept"
if [[ ! -e "$kept/root.tar" ]]; then
    say "debootstrap bookworm (about a minute, once)"
    rm -rf "$kept/root"
    quietly debootstrap --variant=minbase --include=systemd,adduser,ca-certificates,libc6,libgcc-s1 \
        bookworm "$kept/root" "$(mirror)"
    tar --create --file "$kept/root.tar.part" --directory "$kept/root" .
    mv "$kept/root.tar.part" "$kept/root.tar"
    rm -rf "$kept/root"
fi

package=("$repository"/target/release-files/token-server_*.deb)
[[ -e "${package[0]}" ]] || packaging/dist.sh
package=("$repository"/target/release-files/token-server_*.deb)

# The list of crates names each one that is built in, or builds.
named="$(jq -r '.components[] | "\(.name) \(.version)"' target/release-files/*.cdx.json | sort -u)"
built="$(cargo tree --locked --package token-server --edges normal,build --prefix none --format '{p}' |
    sed 's/ v/ /; s/ (.*//' | grep -v '^token-server ' | sort -u)"
missing="$(comm -13 <(echo "$named") <(echo "$built"))"
[[ -z "$missing" ]] || {
    say "failed: the list of crates lacks: $missing" >&2
    exit 1
}
say "the list of crates names all $(wc -l <<<"$built")"

root="$(mktemp -d "$kept/run.XXXXXX")"
server=
stop() {
    [[ -z "$server" ]] || end "$server"
    umount "$root/proc" 2>/dev/null || true
    rm -rf --one-file-system "$root"
}
trap stop EXIT
tar --extract --file "$kept/root.tar" --directory "$root"
mount -t proc proc "$root/proc"

fail() {
    say "failed: $*" >&2
    exit 1
}
is() { [[ "$2" == "$3" ]] || fail "$1: $2 instead of $3"; }
inside() { chroot "$root" env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"; }

# What is there, with owners and modes, but for what dpkg and its tools note for themselves.
listed() {
    inside find / -xdev -path /proc -prune -o \( -path '/var/lib/dpkg*' -o -path '/var/log*' \
        -o -path '/var/cache*' -o -path '/tmp/*' -o -name '*-' \) -prune -o \
        -printf '%p %U %m\n' | sort
}
users() { inside getent passwd | cut -d: -f1 | sort; }
listed >"$kept/before"
users >"$kept/users"

cp "${package[0]}" "$root/tmp/first.deb"
quietly inside dpkg --install /tmp/first.deb
say "installed: $(inside dpkg-query --show token-server | tr '\t' ' '), $(inside dpkg-query --show --showformat "\${Installed-Size}" token-server) KiB"
unit="$(inside dpkg --listfiles token-server | grep '/token-server\.service$')"
is "what is started at boot" \
    "$(inside readlink -f /etc/systemd/system/multi-user.target.wants/token-server.service)" \
    "$(inside readlink -f "$unit")"

# The manual that the unit names is there, but nothing that would show it.
[[ -e "$root/usr/share/man/man1/token-server.1.gz" ]] || fail "the manual is not in the package"
# shellcheck disable=SC2016 # The bash inside expands it.
is "what bash completes" "$(inside bash -c 'source /usr/share/bash-completion/completions/token-server
    COMP_WORDS=(token-server rene) COMP_CWORD=1 COMP_LINE="token-server rene"
    _token__server token-server rene token-server && echo "${COMPREPLY[*]}"')" "renew renewal"
inside systemd-analyze verify --man=no "$unit" || fail "the unit is refused"
say "systemd-analyze verify: no remark"
say "$(inside systemd-analyze security --offline=true "$unit" | tail -n 1)"
exposure="$(inside systemd-analyze security --offline=true --threshold=20 "$unit" >/dev/null && echo low)" || true
is "its exposure, of 2.0 at most" "${exposure:-higher}" low

# As the unit says: systemd itself is not process 1 here.
value() { sed -n "s/^$1=//p" "$root$unit"; }
user="$(value User)"
data="/var/lib/$(value StateDirectory)"
is "the user" "$user" token-server
is "who may read the configuration" \
    "$(inside stat -c '%U:%G %a' /etc/token-server/config.toml)" root:token-server\ 640
port="$(free_port)"
url="http://127.0.0.1:$port"
start() {
    [[ -d "$root$data" ]] || inside install -d -o "$user" -g "$user" -m "$(value StateDirectoryMode)" "$data"
    local -a command
    read -ra command <<<"$(value ExecStart)"
    chroot --userspec="$user:$user" "$root" env -i PATH=/usr/bin "$(value Environment)" \
        "TOKEN_SERVER__HTTP__LISTEN=127.0.0.1:$port" "${command[@]}" 2>>"$kept/log" &
    server=$!
    wait_for "the server" curl -fsS "$url/readyz" || {
        tail -n 20 "$kept/log" >&2
        exit 1
    }
}
: >"$kept/log"
start
is "the user of the process" "$(awk '/^Uid:/ {print $2}' "/proc/$server/status")" "$(inside id -u "$user")"
call() {
    curl -sS --fail-with-body --max-time 20 -H "Authorization: Bearer $(<"$root$data/admin.key")" \
        ${3:+-H 'Content-Type: application/json' --data "$3"} -X "$1" "$url$2"
}
call POST /api/realm '{"id": "fixed"}' >/dev/null
call PUT /api/token '{"realm": "fixed", "key": "k", "token": "kept"}' >/dev/null
is "its token" "$(call GET '/api/token?realm=fixed&key=k' | jq -r .token)" kept

# An upgrade: the same files with a newer version.
echo '# An administrator was here.' >>"$root/etc/token-server/config.toml"
dpkg-deb --raw-extract "${package[0]}" "$root/tmp/newer"
sed -i 's/^Version: .*/&+newer/' "$root/tmp/newer/DEBIAN/control"
quietly dpkg-deb --build --root-owner-group "$root/tmp/newer" "$root/tmp/second.deb"
rm -r "$root/tmp/newer"
end "$server"
quietly inside dpkg --install /tmp/second.deb
start
is "its token after the upgrade" "$(call GET '/api/token?realm=fixed&key=k' | jq -r .token)" kept
is "the configuration after the upgrade" "$(tail -n 1 "$root/etc/token-server/config.toml")" '# An administrator was here.'
is "its mode" "$(inside stat -c '%U:%G %a' /etc/token-server/config.toml)" root:token-server\ 640
say "upgraded to $(inside dpkg-query --show --showformat "\${Version}" token-server): data and configuration are kept"
end "$server"
server=

quietly inside dpkg --remove token-server
[[ -e "$root$data/token-server.db" && -e "$root/etc/token-server/config.toml" ]] || fail "removing it takes data or configuration"
quietly inside dpkg --purge token-server
listed | diff "$kept/before" - || fail "a purge leaves or takes these"
users | diff "$kept/users" - || fail "a purge leaves or takes these users"
say "purged: nothing is left"
