# The frame of the scripts that measure Atoll on real clusters: where things are, and that nothing runs on after them. It is
# sourced from the root of the repository. A script adds to `endings` the functions that end what else it has started.
# shellcheck shell=bash

work=$PWD/.build/bench
mkdir -p "$work"
lab=$(mktemp -d "$work/lab.XXXXXX")
sockets=$(mktemp -d) # paths of sockets must be short
endings=()

# shellcheck source=e2e/bench/measure.sh
. e2e/bench/measure.sh
# shellcheck source=e2e/bench/rivals.sh
. e2e/bench/rivals.sh
# shellcheck source=e2e/bench/atoll.sh
. e2e/bench/atoll.sh

stop() {
	local code=$? ending
	trap - EXIT INT TERM
	atoll_stop || code=1
	for ending in "${endings[@]}"; do
		"$ending" || code=1
	done
	e2e/lab/ceph.sh down "$lab" >&2 || code=1
	rm -rf "$lab" "$work"/*.raw "$sockets"
	exit "$code"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

say() { printf '%s\n' "$*" >&2; }

# start_clusters NAME... starts them with sockets on which their OSDs tell their counters, which the lab leaves off.
start_clusters() {
	local name
	say "starting clusters: $*"
	e2e/lab/ceph.sh up "$lab" "$@" >&2
	CGO_ENABLED=0 go build -o "$lab/osd-counter" ./e2e/bench/osd
	for name in "$@"; do
		sed -i "/^\[osd\]/a admin socket = $sockets/$name" "$lab/$name/ceph.conf"
		e2e/lab/ceph.sh osd-stop "$lab" "$name"
		e2e/lab/ceph.sh osd-start "$lab" "$name"
	done
}

# osd_counter CLUSTER NAME [LEAST] prints a counter of its OSD, or waits until it is LEAST or more.
osd_counter() { timeout 120 "$lab/osd-counter" "$sockets/$1" "${@:2}"; }
