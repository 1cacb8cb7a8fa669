#!/usr/bin/env bash
# Runs a command whose temporary files are in memory where there is room for them:
# `tests/memory.sh COMMAND…`. The databases of tests wait for the disk at each commit, which is half
# of the time that the tests take. What a killed process has written stays in memory as it does on a
# disk; only what a system without power would lose is not shown, here or there.
#
# TMPDIR=FOLDER keeps them there instead.
set -euo pipefail

memory=/dev/shm
# The databases of all tests take a fifth of it.
needed_kib=$((6 * 1024 * 1024))

# What is stored there takes memory, and some tests run what they have written.
has_room() {
    local free available
    free="$(df --output=avail -k "$memory" 2>/dev/null | tail -n 1)" || return 1
    available="$(sed -n 's/^MemAvailable: *\([0-9]*\) kB$/\1/p' /proc/meminfo)" || return 1
    ((${free:-0} >= needed_kib && ${available:-0} >= needed_kib)) && runs_programs
}

runs_programs() {
    local folder ran=no
    folder="$(mktemp -d "$memory/token-server.XXXXXX" 2>/dev/null)" || return 1
    printf '#!/bin/sh\n' >"$folder/program"
    chmod 700 "$folder/program"
    "$folder/program" 2>/dev/null && ran=yes
    rm -rf "$folder"
    [[ $ran == yes ]]
}

if [[ -n "${TMPDIR:-}" ]] || ! has_room; then
    exec "$@"
fi
TMPDIR="$(mktemp -d "$memory/token-server.XXXXXX")"
export TMPDIR
# As in /tmp, other users find what is theirs.
chmod 711 "$TMPDIR"
trap 'rm -rf "$TMPDIR"' EXIT
"$@"
