#!/usr/bin/env bash
# Stops with one clear sentence where the sandbox and its tests can't run. The sandbox itself checks the rest.
set -euo pipefail
stop() { echo "basewright: $1" >&2; exit 1; }
[ "$(uname -s)" = Linux ] || stop "this needs Linux: it runs a real Kubernetes node in kernel namespaces ($(uname -s) found)."
[ "$(id -u)" = 0 ] || stop "this needs root, to make namespaces, mounts and network links: run it as root, for example with sudo env PATH=\$PATH make demo."
need=$(awk '$1 == "go" { print $2; exit }' go.mod)
command -v go >/dev/null || stop "this needs Go $need or newer on the PATH: see https://go.dev/dl."
version=$(cd / && go env GOVERSION)
[ "$(printf '%s\n' "go$need" "$version" | sort -V | head -n 1)" = "go$need" ] ||
  stop "this needs Go $need or newer, found $version: see https://go.dev/dl."
command -v git >/dev/null || stop "this needs git on the PATH: apt-get install git."
