#!/usr/bin/env bash
# Fuzzes what reads other people's input: `fuzz/run.sh SECONDS`, for all targets together.
#
# Builds the targets once and runs one after the other on the committed corpus, the presets
# and the answers of tests/presets. Prints a line for each target, and ends with 1 if one of
# them panicked, grew beyond 1 GB or took longer than 10 seconds for one input; the input
# stays in fuzz/artifacts, and the command that reproduces it is printed.
#
# FUZZ_CORPUS=FOLDER    works there instead of in a temporary folder: what is found is kept.
#                       CONTRIBUTING says how it becomes the committed corpus
# FUZZ_TARGETS="A B"    only these
# FUZZ_SEED=NUMBER      the same choices again
#
# Needs Rust and a C++ compiler. What is missing is installed: cargo-fuzz with the tools of `make
# check`, g++ by apt-get where there is one.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

fuzz="$PWD"
repository="$(dirname "$fuzz")"
seconds="${1:-}"
rss_limit_mb=1024
timeout_s=10
read -ra targets <<<"${FUZZ_TARGETS:-realm_document answer_json answer_xml answer_text_headers expiry_values expression ticket_push api_key_header sealed_value configuration jwt}"

script=fuzz
source "$repository/tests/tools/install.sh"

# No path of this machine is printed.
plainly() { sed -e "s#$repository#.#g" -e "s#${CARGO_HOME:-$HOME/.cargo}#\$CARGO_HOME#g" -e "s#${work:-$fuzz}#\$WORK#g"; }

# The longest input that makes sense: more only takes longer.
max_len() {
    case "$1" in
    realm_document) echo 16384 ;;
    expiry_values | api_key_header | sealed_value) echo 256 ;;
    expression) echo 4096 ;;
    *) echo 8192 ;;
    esac
}

# The last value of a statistic in a log; 0 where it is absent.
statistic() { sed -n "s/^stat::$1: *//p" "$2" | tail -n 1 | grep . || echo 0; }

coverage() { sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$1" | tail -n 1 | grep . || echo 0; }

if ! [[ "$seconds" =~ ^[0-9]+$ ]] || ((seconds < ${#targets[@]})); then
    say "usage: fuzz/run.sh SECONDS, at least ${#targets[@]}" >&2
    exit 2
fi

# libFuzzer is C++; cc takes c++, or what CXX names.
has "${CXX:-c++}" || install g++
python_tools

# cargo-fuzz cannot be told that the versions are locked, but changes nothing of a whole lock file.
if ! cargo metadata --locked --format-version 1 >/dev/null; then
    say "fuzz/Cargo.lock is not whole: make fuzz-lock" >&2
    exit 2
fi

# Safe Rust needs no address sanitizer; growth is seen by the limit on memory.
build=(cargo fuzz build --sanitizer none --codegen-units 16)
say "cargo fuzz build (some minutes the first time)"
begun=$SECONDS
quietly env -u CARGO_TARGET_DIR "${build[@]}"
say "built in $((SECONDS - begun)) s"

host="$(rustc -vV | sed -n 's/^host: //p')"
binaries="target/$host/release"
each=$((seconds / ${#targets[@]}))
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
found=0

for target in "${targets[@]}"; do
    seeds="$work/$target/seeds"
    corpus="${FUZZ_CORPUS:-$work/corpus}/$target"
    log="$work/$target/log"
    mkdir -p "$seeds" "$corpus" "artifacts/$target"
    tar -xzf "corpus/$target.tar.gz" -C "$corpus"
    quietly env FUZZ_SEEDS_TO="$seeds" "$binaries/$target"
    options=(
        -max_total_time="$each" -rss_limit_mb="$rss_limit_mb" -timeout="$timeout_s"
        -max_len="$(max_len "$target")" -dict="dictionaries/$target.dict"
        -artifact_prefix="artifacts/$target/" -print_final_stats=1
        ${FUZZ_SEED:+-seed="$FUZZ_SEED"}
    )
    begun=$SECONDS
    outcome=0
    "$binaries/$target" "${options[@]}" "$corpus" "$seeds" >"$log" 2>&1 || outcome=$?
    printf 'fuzz: %-20s %10s runs  %6s new units  coverage %6s  peak rss %4s MB  %5s s\n' \
        "$target" "$(statistic number_of_executed_units "$log")" \
        "$(statistic new_units_added "$log")" "$(coverage "$log")" \
        "$(statistic peak_rss_mb "$log")" "$((SECONDS - begun))"
    if ((outcome != 0)); then
        found=1
        input="$(sed -n 's/.*Test unit written to //p' "$log" | tail -n 1)"
        # The message of a panic, its own frames, and what libFuzzer makes of it.
        grep -A 1 'panicked at\|ERROR: libFuzzer' "$log" | plainly >&2
        grep -B 1 '^ *at \./\|^ *at '"$repository/src" "$log" | head -n 20 | plainly >&2 || true
        say "$target failed; see it again with:" >&2
        printf 'cd fuzz && cargo fuzz run --sanitizer none --codegen-units 16 %s %s -- -rss_limit_mb=%s -timeout=%s\n' \
            "$target" "${input:-}" "$rss_limit_mb" "$timeout_s" >&2
    fi
done

exit "$found"
