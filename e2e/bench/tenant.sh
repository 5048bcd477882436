#!/usr/bin/env bash
# Measures what the disk of a virtual machine at a site feels of a copy that comes in: the 99th percentile of its random writes of
# 4 KiB, by fio through librbd, while nothing else happens, while Atoll copies an image to the site, and while `rbd import` writes
# the same image there as fast as it can. Prints a report in Markdown; raw figures stay in .build/bench/tenant.tsv.
#
#   BENCH_RUNS=5        runs of each in turn; the report shows medians
#   BENCH_GIB=2         random data in the image
#   BENCH_IDLE=15       seconds of the runs in which nothing else happens
#   BENCH_DEPTH=4       writes of the machine that are on their way at once
#   BENCH_IOPS=200      most writes per second; 0 for as many as there can be
#   BENCH_LIMIT=        limit of the site, such as 50MiB/s; none unless given
#
# All clusters, the hub and the agents share this machine: what the copy needs of its processors, the writes wait for as well.
set -euo pipefail
cd "$(dirname "$0")/../.."

runs=${BENCH_RUNS:-5}
gib=${BENCH_GIB:-2}
idle_seconds=${BENCH_IDLE:-15}
depth=${BENCH_DEPTH:-4}
iops=${BENCH_IOPS:-200}
limit=${BENCH_LIMIT:-}
sites=(dcn0)
target=target

# shellcheck source=e2e/bench/stage.sh
. e2e/bench/stage.sh
results=$work/tenant.tsv

# tenant SECONDS writes like a machine, no longer than that, and prints what fio found.
tenant() {
	local -a most=()
	((iops == 0)) || most=(--rate_iops="$iops")
	CEPH_CONF=$lab/tenant.conf exec fio --name=tenant --ioengine=rbd --clientname=admin --pool=images --rbdname=tenant \
		--rw=randwrite --bs=4k --iodepth="$depth" --time_based --ramp_time=2 --runtime="$1" --output-format=json "${most[@]}"
}

# figures FILE prints from what fio found: writes, the median and the 99th percentile in ms.
figures() {
	jq -r '.jobs[0].write | [.total_ios, .clat_ns.percentile["50.000000"] / 1e6, .clat_ns.percentile["99.000000"] / 1e6] | @tsv' \
		<(sed -n '/^{/,$p' "$1")
}

idle() { sleep "$idle_seconds"; }
atoll() { ctl image copy "$source_image" --stores dcn0; }
import() { r dcn0 import --no-progress "$work/source.raw" "images/$target"; }

# once LOAD adds a line to the results: load, seconds, writes, median and 99th percentile in ms.
once() {
	local load=$1 fio began ended
	sync
	sleep 2 # let the OSDs finish what the run before left behind
	tenant 3600 >"$lab/fio.json" 2>>"$work/tools.log" &
	fio=$!
	sleep 2 # of which fio forgets what it found
	began=$(now)
	"$load" >>"$work/tools.log" 2>&1
	ended=$(now)
	kill -INT "$fio" # it writes its report
	wait "$fio" || true
	printf '%s\t%s\t%s\n' "$load" "$(minus "$ended" "$began")" "$(figures "$lab/fio.json")" | tee -a "$results" >&2
	case $load in
	atoll) atoll_wipe dcn0 ;;
	import) r dcn0 rm --no-progress "images/$target" ;;
	esac
}

report() {
	local load quiet
	local -A name=([idle]='nothing' [atoll]="copy by Atoll${limit:+, limit $limit}" [import]="\`rbd import\`")
	quiet=$(column "$results" idle 5 | median)
	machine
	printf 'An image of %d GiB of random data; random writes of 4 KiB, %d at once%s; %d runs of each in turn; medians.\n\n' "$gib" "$depth" \
		"$( ((iops == 0)) || echo ", at most $iops per second")" "$runs"
	printf '| beside | seconds | writes per second | p50 ms | p99 ms | p99 over idle |\n|---|---|---|---|---|---|\n'
	for load in idle atoll import; do
		printf '| %s | %s | %s | %.2f | %.2f | %s |\n' "${name[$load]}" "$(column "$results" "$load" 2 | median)" \
			"$(awk -F '\t' -v load="$load" '$1 == load { printf "%.0f\n", $3 / $2 }' "$results" | median)" \
			"$(column "$results" "$load" 4 | median)" "$(column "$results" "$load" 5 | median)" \
			"$(column "$results" "$load" 5 | median | awk -v q="$quiet" '{ printf "%.2f", $1 / q }')"
	done
}

main() {
	local i load
	: >"$results"
	: >"$work/tools.log"
	e2e/lab/packages.sh tenant >&2
	start_clusters central dcn0
	# A write that only the client's cache has seen says nothing of the OSD.
	{ cat "$lab/dcn0/ceph.conf"; printf '\n[client]\nrbd cache = false\n'; } >"$lab/tenant.conf"
	atoll_start
	head -c "${gib}G" /dev/urandom >"$work/source.raw"
	atoll_import "$work/source.raw"
	[[ ! $limit ]] || ctl site limit dcn0 --rate "$limit" >>"$work/atoll/ctl.log"
	# The machine's disk has all its objects: what is measured are writes, not the making of objects.
	head -c 1G /dev/urandom | r dcn0 import --no-progress - images/tenant
	say "beside what, seconds, writes, median and 99th percentile in ms"
	for ((i = 0; i < runs; i++)); do
		for load in idle atoll import; do
			once "$load"
		done
	done
	report
}

main
