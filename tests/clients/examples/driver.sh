#!/usr/bin/env bash
# Does with the client of docs/clients what a test says; driver.py lists the commands.
set -euo pipefail

TOKEN_SERVER_URL=$BASE
# The folder is this test's own.
TOKEN_SERVER_KEY_FILE=$PWD/app.key
(umask 077 && printf '%s' "$API_KEY" >"$TOKEN_SERVER_KEY_FILE")
# shellcheck source=docs/clients/token_server.sh
source ./token_server.sh

with_token() {
    local held text status
    held=$(token_get "$1" "$2")
    for tries in first second; do
        text=$(curl -sS -w '\n%{http_code}' "$3" \
            -H "Authorization: Bearer $(jq -r .token <<<"$held")")
        status=${text##*$'\n'}
        [[ $status == 401 && $tries == first ]] || break
        held=$(token_refused "$1" "$2" "$(jq -r .generation <<<"$held")")
    done
    printf '%s\n' "${text%$'\n'*}"
}

while read -r command realm key rest; do
    case $command in
    token)
        if held=$(token_get "$realm" "$key" 2>error); then
            jq -r .token <<<"$held"
        else
            echo "error: $(<error)"
        fi
        ;;
    call) with_token "$realm" "$key" "$rest" ;;
    # curl goes on until its next line finds nobody who reads it.
    watch) sed --unbuffered "${rest}q" < <(token_watch "$realm" "$key" | jq --unbuffered .generation) ;;
    esac
done
