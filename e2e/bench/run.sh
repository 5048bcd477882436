#!/usr/bin/env bash
# Measures copies of one image from the central cluster to one and to three sites, by Atoll and by the tools people use
# today, in turn and on the same real clusters. Prints a report in Markdown; raw figures stay in .build/bench/results.tsv.
#
#   BENCH_RUNS=5     runs of each tool; the report shows medians
#   BENCH_GIB=1      random data in the image, which is four times as long
#   BENCH_EMPTY=100  length in GiB of the empty image; 0 skips that part
#   BENCH_TOOLS=...  only these tools, see below
set -euo pipefail
cd "$(dirname "$0")/../.."

runs=${BENCH_RUNS:-5}
gib=${BENCH_GIB:-1}
empty_gib=${BENCH_EMPTY:-100}
tools=${BENCH_TOOLS:-atoll_unix atoll_tls diff_parallel diff_sequential plain_parallel qemu_parallel}
sites=(dcn0 dcn1 dcn2)
image_bytes=$((gib * 4 << 30))
source_image=source
target=target

# shellcheck source=e2e/bench/stage.sh
. e2e/bench/stage.sh
results=$work/results.tsv

# make_image writes a raw file: runs of 64 MiB of random data, each followed by three times as much of nothing.
make_image() {
	local file=$1 i
	rm -f "$file"
	truncate -s "$image_bytes" "$file"
	for ((i = 0; i < gib * 16; i++)); do
		dd if=/dev/urandom of="$file" bs=4M count=16 seek=$((i * 64)) conv=notrunc status=none
	done
}

# cpu_by_part TOOL prints the CPU seconds used so far by: the central cluster, the clusters of the sites, the hub, the
# central agent, the agents of the sites, and what this script has started and waited for.
cpu_by_part() {
	local name hub=0 central=0 agents=0
	local -a pids=()
	for name in "${sites[@]}"; do
		pids+=("$(<"$lab/$name/run/mon.pid")" "$(<"$lab/$name/run/osd.pid")")
	done
	if [[ $1 == atoll_* ]]; then
		hub=$(cpu_of "$(atoll_pid hub)")
		central=$(cpu_of "$(atoll_pid central)")
		agents=$(cpu_of "$(atoll_pid "${sites[0]}")" "$(atoll_pid "${sites[1]}")" "$(atoll_pid "${sites[2]}")")
	fi
	printf '%s ' "$(cpu_of "$(<"$lab/central/run/mon.pid")" "$(<"$lab/central/run/osd.pid")")" "$(cpu_of "${pids[@]}")" \
		"$hub" "$central" "$agents" "$(cpu_of_children)"
}

# checksum CLUSTER IMAGE prints the SHA-256 of a snapshot as rbd reads it.
checksum() { r "$1" export --no-progress "images/$2@snap" - | sha256sum | cut -d' ' -f1; }

# once TOOL SITE... measures one copy and adds a line to the results: tool, sites, seconds, bytes read from central, and
# the CPU seconds of each part.
once() {
	local tool=$1 began ended read0 read1 before after
	shift
	sync
	sleep 1 # let the OSDs finish what the run before left behind
	[[ $tool != atoll_* ]] || atoll_prepare "$tool" "$@"
	read0=$(osd_counter central op_r_out_bytes)
	before=$(cpu_by_part "$tool")
	began=$(now)
	"$tool" "$@" >>"$work/tools.log" 2>&1
	ended=$(now)
	after=$(cpu_by_part "$tool")
	read1=$(osd_counter central op_r_out_bytes)
	awk -v OFS='\t' -v tool="$tool" -v sites=$# -v wall="$(minus "$ended" "$began")" -v bytes=$((read1 - read0)) \
		-v before="$before" -v after="$after" 'BEGIN {
			n = split(before, b, " "); split(after, a, " ")
			for (i = 1; i <= n; i++) { d[i] = a[i] - b[i]; sum += d[i] }
			printf "%s\t%d\t%.2f\t%.0f\t%.2f", tool, sites, wall, bytes, sum
			for (i = 1; i <= n; i++) printf "\t%.2f", d[i]
			print "" }' | tee -a "$results" >&2
}

# compare TOOL SITE... checks that every copy is the source, once per tool.
compare() {
	local tool=$1 site name=$target
	shift
	[[ $tool != atoll_* ]] || name=$source_image
	for site in "$@"; do
		[[ $(checksum "$site" "$name") == "$source_sum" ]] || { say "$tool: the copy at $site differs"; exit 1; }
	done
}

main() {
	local run tool count
	: >"$results"
	: >"$work/tools.log"
	LAB_OSD_SIZE=40G start_clusters central "${sites[@]}"
	say "making an image of $((gib * 4)) GiB with $gib GiB of random data"
	make_image "$work/source.raw"
	source_sum=$(sha256sum <"$work/source.raw" | cut -d' ' -f1)
	atoll_start
	atoll_import "$work/source.raw"
	rm "$work/source.raw"
	say "tool, sites, seconds, bytes read from central, CPU seconds: all, central Ceph, Ceph of sites, hub, central agent, agents, clients"
	for ((run = 1; run <= runs; run++)); do
		for count in 1 ${#sites[@]}; do
			for tool in $tools; do
				[[ $count == 1 && $tool == diff_sequential ]] && continue # the same as diff_parallel
				once "$tool" "${sites[@]:0:count}"
				((run > 1 || count == 1)) || compare "$tool" "${sites[@]:0:count}"
				if [[ $tool == atoll_* ]]; then
					atoll_wipe "${sites[@]:0:count}"
				else
					wipe "${sites[@]:0:count}"
				fi
			done
		done
	done
	atoll_memory >"$work/memory.tsv"
	: >"$work/empty.tsv"
	((empty_gib == 0)) || atoll_empty >"$work/empty.tsv"
	e2e/bench/report.sh "$work"
}

main
