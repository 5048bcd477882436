#!/usr/bin/env bash
# Runs a command with cgo on and the build tags that the installed librbd needs.
# Without librbd's headers it says so and does nothing; with CI=true that is a failure.
set -euo pipefail
cd "$(dirname "$0")/../.."

if [[ ! -e /usr/include/rbd/librbd.h ]]; then
	echo "not run, librbd-dev is missing: $*" >&2
	[[ ${CI:-} != true ]]
	exit
fi
tags=$(make -s ceph-tags)
export CGO_ENABLED=1
if [[ -n $tags ]]; then
	export GOFLAGS="${GOFLAGS:-} -tags=$tags"
fi
set -x
exec "$@"
