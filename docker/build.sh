#!/usr/bin/env bash
# Builds the image token-server with docker, podman or buildah, whichever is there and works:
# `docker/build.sh [OPTION…]`. Options go to the builder. IMAGE names the image. The console is built
# first where npm is there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

works() { command -v "$1" >/dev/null && "$1" info >/dev/null 2>&1; }

script=image
source tests/packages.sh
build_console

build=(--file docker/Dockerfile --tag "${IMAGE:-token-server}" "$@" .)
if works docker; then
    exec docker build "${build[@]}"
fi
# Docker's format: OCI's has no HEALTHCHECK. Layers keep what has been built for the next time.
for builder in podman buildah; do
    if works "$builder"; then
        exec "$builder" build --format docker --layers "${build[@]}"
    fi
done
echo "docker/build.sh: neither docker, podman nor buildah works here; install one of them" >&2
exit 1
