# Sourced, after common.sh, by the scripts that start MySQL 9. Debian keeps it in unstable only, so it
# runs in a root of its own, which is made once under target/ and kept.
# shellcheck shell=bash disable=SC2034,SC2154

need_root
has debootstrap || install debootstrap

root="$repository/target/servers/mysql"

if [[ ! -x "$root/usr/sbin/mysqld" || ! -x "$root/usr/bin/mysql" ]]; then
    from="$(mirror)"
    say "debootstrap mysql-server-core, mysql-client-core (about a minute, once)"
    rm -rf "$root"
    mkdir -p "$root"
    quietly debootstrap --variant=minbase --include=mysql-server-core,mysql-client-core sid "$root" "$from"
fi
echo "127.0.0.1 localhost" >"$root/etc/hosts"

# Of each server in it.
mysqld_options=(--no-defaults --user=root --bind-address=127.0.0.1 --mysqlx=OFF
    --secure-file-priv=NULL --max-connections=1000)
