#!/usr/bin/env bash
# Measures how a qcow2 from a web server gets into the pools of three sites as a raw image with a protected snapshot: by
# Atoll's web-download, and by the tools people use today, in turn and on the same real clusters. Prints a report in
# Markdown; raw figures stay in .build/bench/imports.tsv.
#
#   BENCH_RUNS=5      runs of each tool; the report shows medians
#   BENCH_GIB=2       data in the disk, files of this machine; the disk is five times as long
#   BENCH_TOOLS=...   only these tools, see import_tools.sh
#   BENCH_VARIANTS="plain compressed"  which kinds of qcow2
set -euo pipefail
cd "$(dirname "$0")/../.."

runs=${BENCH_RUNS:-5}
gib=${BENCH_GIB:-2}
tools=${BENCH_TOOLS:-atoll sequential parallel chained}
variants=${BENCH_VARIANTS:-plain compressed}
sites=(dcn0 dcn1)
everywhere=(central "${sites[@]}")
target=target

# shellcheck source=e2e/bench/stage.sh
. e2e/bench/stage.sh
# shellcheck source=e2e/bench/import_tools.sh
. e2e/bench/import_tools.sh
results=$work/imports.tsv
scratch=$lab/scratch # of the rivals
web_port=$((32500 + RANDOM % 400))

web_stop() { process_stop "$lab/web.pid" "$lab/web" 5; }
endings+=(web_stop)

# make_files writes the disk and both kinds of qcow2: files of this machine in runs of 64 MiB, each followed by four times as
# much of nothing; noise where the machine has too few files.
make_files() {
	local i
	mkdir -p "$lab/www"
	truncate -s $((gib * 5))G "$lab/disk.raw"
	exec {files}< <(tar -C / --create --file - --ignore-failed-read usr 2>/dev/null; cat /dev/urandom)
	for ((i = 0; i < gib * 16; i++)); do
		dd of="$lab/disk.raw" bs=1M count=64 iflag=fullblock seek=$((i * 320)) conv=notrunc status=none <&"$files"
	done
	exec {files}<&-
	qemu-img convert -f raw -O qcow2 "$lab/disk.raw" "$lab/www/plain.qcow2"
	qemu-img convert -f raw -O qcow2 -c "$lab/disk.raw" "$lab/www/compressed.qcow2"
}

# cpu_by_part prints the CPU seconds used so far by: all clusters, the hub, the agents, and what this script has started and
# waited for.
cpu_by_part() {
	local name
	local -a ceph=() agents=()
	for name in "${everywhere[@]}"; do
		ceph+=("$(<"$lab/$name/run/mon.pid")" "$(<"$lab/$name/run/osd.pid")")
		agents+=("$(atoll_pid "$name")")
	done
	printf '%s ' "$(cpu_of "${ceph[@]}")" "$(cpu_of "$(atoll_pid hub)")" "$(cpu_of "${agents[@]}")" "$(cpu_of_children)"
}

# watch_disk FILE writes the most MiB that the tools' scratch files and the staging area have taken, until it is killed.
watch_disk() {
	local most=0 now
	while :; do
		now=$(du -sm --total "$scratch" "$work/atoll/hub/staging" 2>/dev/null | awk 'END { print $1 + 0 }' || true) # files come and go
		if ((now > most)); then
			most=$now
			echo "$most" >"$1"
		fi
		sleep 0.5
	done
}

# once TOOL VARIANT measures one import and adds a line to the results: tool, variant, seconds, CPU seconds in all and of each
# part, MiB of disk, MiB of memory of the hub.
once() {
	local tool=$1 variant=$2 began ended before after watcher memory=0
	sync
	sleep 2 # let the OSDs finish what the run before left behind
	rm -rf "$scratch"
	mkdir -p "$scratch"
	echo 0 >"$lab/disk.most"
	atoll_forget_peak hub
	watch_disk "$lab/disk.most" &
	watcher=$!
	before=$(cpu_by_part)
	began=$(now)
	"import_$tool" "http://127.0.0.1:$web_port/$variant.qcow2" >>"$work/tools.log" 2>&1
	ended=$(now)
	after=$(cpu_by_part)
	kill "$watcher" 2>/dev/null || true
	wait "$watcher" 2>/dev/null || true
	[[ $tool != atoll* ]] || memory=$(peak_memory "$(atoll_pid hub)")
	awk -v OFS='\t' -v tool="$tool" -v variant="$variant" -v wall="$(minus "$ended" "$began")" -v disk="$(<"$lab/disk.most")" \
		-v memory="$memory" -v before="$before" -v after="$after" 'BEGIN {
			n = split(before, b, " "); split(after, a, " ")
			for (i = 1; i <= n; i++) { d[i] = a[i] - b[i]; sum += d[i] }
			printf "%s\t%s\t%.2f\t%.2f", tool, variant, wall, sum
			for (i = 1; i <= n; i++) printf "\t%.2f", d[i]
			printf "\t%d\t%d\n", disk, memory }' | tee -a "$results" >&2
}

# compare TOOL checks that every copy is the disk.
compare() {
	local site
	for site in "${everywhere[@]}"; do
		qemu-img compare -q -f raw -F raw "$lab/disk.raw" "rbd:images/$(import_name "$1")@snap:conf=$lab/$site/ceph.conf" ||
			{ say "$1: the copy at $site differs"; exit 1; }
	done
}

main() {
	local run tool variant
	: >"$results"
	: >"$work/tools.log"
	LAB_OSD_SIZE=40G start_clusters "${everywhere[@]}"
	say "making a disk of $((gib * 5)) GiB with $gib GiB of data"
	make_files
	ls -l "$lab/www" >&2
	CGO_ENABLED=0 go build -o "$lab/web" ./e2e/bench/web
	process_start "$lab/web.pid" "$lab/web.log" "$lab/web" "127.0.0.1:$web_port" "$lab/www"
	until_true 20 curl -sf -o /dev/null -I "http://127.0.0.1:$web_port/plain.qcow2"
	atoll_start
	atoll_agents unix
	say "tool, kind, seconds, CPU seconds: all, Ceph, hub, agents, clients; MiB of disk, MiB of memory of the hub"
	for ((run = 1; run <= runs; run++)); do
		for variant in $variants; do
			for tool in $tools; do
				once "$tool" "$variant"
				((run > 1)) || compare "$tool"
				"wipe_$(kind_of "$tool")"
			done
		done
	done
	e2e/bench/import_report.sh "$results" "$gib" "$lab/www"
}

main
