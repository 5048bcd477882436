#!/usr/bin/env bash
# Measures what it takes to verify a copy at its site: by the checksums of its OSDs, by reading it (`verify: read`), and by
# `rbd export - | sha256sum`, in turn. Prints a report in Markdown; raw figures stay in .build/bench/verify.tsv.
#
#   BENCH_RUNS=5      runs of each; the report shows medians
#   BENCH_MIB=1024    random data in the image
#
# CPU seconds of the client are those of the agent, or of rbd and sha256sum. Bytes over the link are all that pass between the
# hub and the site meanwhile, heartbeats and TLS included, counted outside of Atoll.
set -euo pipefail
cd "$(dirname "$0")/../.."

runs=${BENCH_RUNS:-5}
mib=${BENCH_MIB:-1024}
rate=1250000000 # no limit worth the name
delay=0ms
sites=(dcn0)
checks=checksums

# shellcheck source=e2e/bench/stage.sh
. e2e/bench/stage.sh
# shellcheck source=e2e/bench/lines.sh
. e2e/bench/lines.sh
results=$work/verify.tsv

# atoll_store SITE is the one of atoll.sh with a way to verify.
atoll_store() { printf '{id: %s, driver: ceph, ceph_conf: %s, user: atoll, pool: images, verify: %s}\n' "$1" "$lab/$1/ceph.conf" "$checks"; }

# use CHECKS starts the agent of the site with that way to verify.
use() {
	[[ $checks != "$1" ]] || return 0
	checks=$1
	atoll_stop_agent dcn0
	atoll_config dcn0 tls
	rm "$work/atoll/dcn0.log"
	atoll_run dcn0
	until_true 60 grep -q 'store usable' "$work/atoll/dcn0.log"
	until_true 60 atoll_connected
}

verify() { ctl replica verify "$source_image" dcn0; }
export_sum() { r dcn0 export --no-progress "images/$source_image@snap" - | sha256sum; }

# once TOOL adds a line to the results: tool, seconds, CPU seconds of the client, of Ceph, bytes over the link.
once() {
	local tool=$1 began ended client ceph line
	[[ $tool == export ]] || use "$tool"
	sleep 1 # for what a new agent asks after it has connected
	line=$(line_bytes line dcn0)
	ceph=$(cpu_of "$(<"$lab/dcn0/run/osd.pid")")
	client=$(client_cpu "$tool")
	began=$(now)
	if [[ $tool == export ]]; then export_sum; else verify; fi >>"$work/atoll/ctl.log" 2>&1
	ended=$(now)
	printf '%s\t%s\t%s\t%s\t%d\n' "$tool" "$(minus "$ended" "$began")" "$(minus "$(client_cpu "$tool")" "$client")" \
		"$(minus "$(cpu_of "$(<"$lab/dcn0/run/osd.pid")")" "$ceph")" $(($(line_bytes line dcn0) - line)) | tee -a "$results" >&2
}

client_cpu() { if [[ $1 == export ]]; then cpu_of_children; else cpu_of "$(atoll_pid dcn0)"; fi; }

# idle measures the link while nobody asks for anything, for as long as the latest verification by reading took.
idle() {
	local line seconds
	seconds=$(column "$results" read 2 | tail -n 1)
	line=$(line_bytes line dcn0)
	sleep "$seconds"
	printf 'idle\t%s\t0\t0\t%d\n' "$seconds" $(($(line_bytes line dcn0) - line)) | tee -a "$results" >&2
}

report() {
	local tool chunks=$((mib / 4))
	local -A name=([checksums]="\`replica verify\`, checksums of the OSDs" [read]="\`replica verify\`, \`verify: read\`"
		[export]="\`rbd export - \| sha256sum\` at the site" [idle]='nothing: heartbeats')
	machine
	printf '%d chunks of random data; %d runs of each in turn; medians.\n\n' "$chunks" "$runs"
	printf '| | seconds | CPU s of the client | CPU s of the OSD | bytes over the link for each chunk |\n|---|---|---|---|---|\n'
	for tool in checksums read export idle; do
		printf '| %s | %s | %s | %s | %s |\n' "${name[$tool]}" "$(column "$results" "$tool" 2 | median)" "$(column "$results" "$tool" 3 | median)" \
			"$(column "$results" "$tool" 4 | median)" "$(column "$results" "$tool" 5 | median | awk -v n="$chunks" '{ printf "%.1f", $1 / n }')"
	done
}

main() {
	local i tool
	: >"$results"
	start_clusters central dcn0
	lines_start dcn0
	atoll_start
	head -c "${mib}M" /dev/urandom >"$work/source.raw"
	atoll_import "$work/source.raw"
	rm "$work/source.raw"
	ctl image copy "$source_image" --stores dcn0 >>"$work/atoll/ctl.log" 2>&1
	say "tool, seconds, CPU seconds of the client, of the OSD, bytes over the link"
	for ((i = 0; i < runs; i++)); do
		for tool in checksums read export; do
			once "$tool"
		done
		idle
	done
	report
}

main
