#!/usr/bin/env bash
# Stops with one clear sentence where the sandbox and its tests can't run. The sandbox itself checks the rest.
set -euo pipefail
stop() { echo "basewright: $1" >&2; exit 1; }
[ "$(uname -s)" = Linux ] || stop "this needs Linux: it runs a real Kubernetes node in kernel namespaces ($(uname -s) found)."
[ "$(id -u)" = 0 ] || stop "this needs root, to make namespaces, mounts and network links: run it with sudo."
command -v go >/dev/null || stop "this needs Go 1.26 or newer on the PATH: see https://go.dev/dl."
version=$(go env GOVERSION)
case $version in
  go1.[0-9] | go1.[0-9].* | go1.[0-9][!0-9]* | go1.1[0-9]* | go1.2[0-5]*) stop "this needs Go 1.26 or newer, found $version: see https://go.dev/dl." ;;
esac
command -v git >/dev/null || stop "this needs git on the PATH: apt-get install git."
