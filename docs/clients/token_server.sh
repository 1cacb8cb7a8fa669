# shellcheck shell=bash
# A client of token-server for shell scripts: source it. It needs curl and jq, TOKEN_SERVER_URL, and
# TOKEN_SERVER_KEY_FILE, a file that holds the API key and that nobody else can read.

# Tokens are kept here, for this user only.
token_dir=${TOKEN_DIR:-$(umask 077 && mktemp -d)}

# token_ask PATH [BODY]: what is answered; curl waits out a 503 by its Retry-After, three times.
token_ask() {
    local answer status
    # The key stands in no list of processes.
    answer=$(curl --silent --show-error --retry 3 --retry-max-time 90 --max-time 60 \
        --write-out '\n%{http_code}' --header @- ${2:+--json "$2"} "$TOKEN_SERVER_URL$1" \
        <<<"Authorization: Bearer $(<"$TOKEN_SERVER_KEY_FILE")") || return
    status=${answer##*$'\n'}
    # Whatever a 503 said before comes first.
    answer=$(jq --slurp --compact-output last <<<"${answer%$'\n'*}")
    [[ $status == 200 ]] && printf '%s\n' "$answer" && return
    jq --raw-output .detail <<<"$answer" >&2
    return 1
}

# token_name REALM KEY: as a query.
token_name() { jq --null-input --raw-output '$ARGS.positional | map(@uri) | "realm=\(.[0])&key=\(.[1])"' --args "$@"; }

# token_keep REALM KEY < ANSWER: for a minute at most, and for half of the time that it is valid.
token_keep() {
    local file
    file=$token_dir/$(token_name "$@")
    (umask 077 && jq '.fresh_until = now + ([60, .expires_in / 2000] | min)' >"$file.new") &&
        mv "$file.new" "$file" && cat "$file"
}

# token_get REALM KEY: the answer, as JSON.
token_get() {
    local name answer
    name=$(token_name "$@")
    jq --exit-status 'select(now < .fresh_until)' "$token_dir/$name" 2>/dev/null && return
    answer=$(token_ask "/api/token?$name") && token_keep "$@" <<<"$answer"
}

# token_refused REALM KEY GENERATION: the provider refused that token; another one.
token_refused() {
    local report answer
    report=$(jq --null-input '$ARGS.positional | {realm: .[0], key: .[1], generation: (.[2] | tonumber)}' --args "$@")
    answer=$(token_ask /api/token/report "$report") && token_keep "$1" "$2" <<<"$answer"
}

# token_watch REALM KEY: each token as it comes, a line of JSON each.
token_watch() {
    curl --silent --no-buffer --header @- "$TOKEN_SERVER_URL/api/token/watch?include=token&$(token_name "$@")" \
        <<<"Authorization: Bearer $(<"$TOKEN_SERVER_KEY_FILE")" | sed --unbuffered --quiet 's/^data: //p'
}
