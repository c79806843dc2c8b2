#!/usr/bin/env bash
# Everything that is generated is up to date, everything is tidy, linted and points in the right direction.
# Works on a copy of the tree, so that it changes nothing and passes on a tree with uncommitted work.
set -euo pipefail
cd "$(git rev-parse --show-toplevel)"
start=$SECONDS
step() { printf '[%4ds] %s\n' $((SECONDS - start)) "$1"; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
git ls-files -co --exclude-standard -z | while IFS= read -r -d '' f; do [ -e "$f" ] && printf '%s\0' "$f"; done |
  tar --null -T - -cf - | tar -xf - -C "$work"
cp -r "$work" "$work.before"
trap 'rm -rf "$work" "$work.before"' EXIT

step "generating"
(cd "$work" && git init -q . && make -s generate)
step "go mod tidy"
(cd "$work" && go mod tidy)
(cd "$work" && for mod in hack/sandbox/tools/*/go.mod; do (cd "$(dirname "$mod")" && go list -mod=readonly ./... tool >/dev/null 2>&1) ||
  { echo "verify: $mod is not complete: run go mod tidy in its directory" >&2; exit 1; }; done)
rm -rf "$work/.git"
if ! diff -r "$work.before" "$work"; then
  echo "verify: generated files or go.mod are not up to date: run make generate and go mod tidy, and commit the result" >&2
  exit 1
fi
step "linting"
make -s lint
step "dependency direction"
go test -count=1 ./internal/layering
step "verified"
