#!/usr/bin/env bash
# Stops what demo.sh has started and deletes its state.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=e2e/demo/layout.sh
. "$here/layout.sh"

if [[ ! -d $demo ]]; then
	echo 'The demo is not there.'
	exit 0
fi
exec {lock}>"$demo/.lock"
flock -w 60 "$lock" || { echo 'down.sh: the demo is being run now' >&2; exit 1; }
for site in "${sites[@]}"; do
	service_stop "$site"
done
service_stop hub
"$repo/e2e/lab/ceph.sh" down "$demo/ceph"
rm -rf "$demo"
echo 'The demo has been stopped and its disk space freed.'
