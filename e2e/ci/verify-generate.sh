#!/usr/bin/env bash
# Fails when proto/gen differs from what the .proto files generate. Works in a temporary directory; the tree stays as it is.
set -euo pipefail
cd "$(dirname "$0")/../.."

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
.build/bin/buf generate -o "$tmp"
if ! diff -ru "$tmp/proto/gen" proto/gen; then
	echo "generated code is out of date: run make generate" >&2
	exit 1
fi
