#!/usr/bin/env bash
# Measures the hub's Image API on a hub of its own: lists, shows, patches and creates with many images in the catalog.
# Prints a table in Markdown.
#
#   BENCH_IMAGES=100000  how many images there are
#   BENCH_SECONDS=8      how long each measurement takes
set -euo pipefail
cd "$(dirname "$0")/../.."

# shellcheck source=e2e/lab/process.sh
. e2e/lab/process.sh

mkdir -p .build/bench
work=$(mktemp -d "$PWD/.build/bench/images.XXXXXX")
port=$((32000 + RANDOM % 500))
image=127.0.0.1:$port

stop() {
	local code=$?
	trap - EXIT INT TERM
	process_stop "$work/hub.pid" atoll-hub "$work/hub" 20
	if ((code)); then tail -n 15 "$work/hub.log" >&2; fi
	rm -rf "$work"
	exit "$code"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

process_start "$work/hub.pid" "$work/hub.log" .build/bin/atoll-hub --data-dir "$work/hub" --image-addr "$image" \
	--grpc-addr "127.0.0.1:$((port + 500))" --link-addr 127.0.0.1:0 --frames-addr 127.0.0.1:0 --metrics-addr '' --log-level warn
deadline=$((SECONDS + 60))
until curl -sf -o /dev/null "http://$image/healthcheck"; do
	process_alive "$work/hub.pid" atoll-hub || { echo 'the hub has ended' >&2; exit 1; }
	((SECONDS < deadline)) || { echo 'the hub does not answer' >&2; exit 1; }
	sleep 0.1
done
CGO_ENABLED=0 go build -o "$work/imageapi" ./e2e/bench/imageapi
"$work/imageapi" -target "$image" -hub-pid "$(<"$work/hub.pid")" -images "${BENCH_IMAGES:-100000}" -seconds "${BENCH_SECONDS:-8}"
awk '/^VmHWM:/ { printf "\nMost memory the hub held: %d MiB.\n", $2 / 1024 }' "/proc/$(<"$work/hub.pid")/status"
