#!/usr/bin/env bash
# Compiles the clients of docs/clients that need it, and the adapters for SDKs: `tests/clients/compile.sh
# COMMAND…` runs the command with the folder of the programs in TEST_CLIENTS.
#
# Debian's packages come from apt-get: golang, default-jdk-headless with libgoogle-gson-java, php-cli.
set -euo pipefail
repository="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
script=clients
source "$repository/tests/packages.sh"

gson=/usr/share/java/gson.jar
packages=()
has go || packages+=(golang-go)
has javac || packages+=(default-jdk-headless)
[[ -e $gson ]] || packages+=(libgoogle-gson-java)
has php || packages+=(php-cli)
if ((${#packages[@]})); then
    install "${packages[@]}"
fi

sources="$repository/docs/clients"
programs="$repository/tests/clients/examples"
folder="$repository/target/clients"
rm -rf "$folder"

mkdir -p "$folder"/go/{tokenserver,wechathandle,credential,driver,wechat}
cp "$sources"/go/*.go "$folder/go/tokenserver"
cp "$sources/wechat/handle.go" "$folder/go/wechathandle"
cp "$programs/stubs/credential/credential.go" "$folder/go/credential"
cp "$programs/driver.go" "$folder/go/driver"
cp "$programs/wechat.go" "$folder/go/wechat"
unformatted="$(gofmt -l "$folder/go")"
[[ -z $unformatted ]] || { say "gofmt would change $unformatted" >&2; exit 1; }
(
    cd "$folder/go"
    printf 'module example\n\ngo 1.19\n' >go.mod
    export GOFLAGS=-mod=mod GOPROXY=off GOCACHE="$folder/go-cache"
    go vet ./...
    go build -o "$folder/go/bin/" ./driver ./wechat
)

javac -Xlint:all,-serial -Werror -cp "$gson" -d "$folder/java" \
    "$sources"/java/*.java "$sources"/wechat/*.java "$programs"/*.java \
    "$programs/stubs/me/chanjar/weixin/mp/config/impl/WxMpDefaultConfigImpl.java"

mkdir -p "$folder/php"
cp "$sources"/php/*.php "$sources"/wechat/*.php "$programs"/*.php "$programs/stubs/contracts.php" "$folder/php"
for file in "$folder"/php/*.php; do
    quietly php --syntax-check "$file"
done

TEST_CLIENTS="$folder" TEST_CLIENTS_GSON="$gson" "$@"
