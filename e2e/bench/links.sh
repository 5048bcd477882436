#!/usr/bin/env bash
# Measures copies over slow lines: an image and its second version from the central cluster to several sites, each behind
# a line of its own, by Atoll and by `rbd export-diff | rbd import-diff` with and without zstd. Prints a report in Markdown;
# raw figures stay in .build/bench/links.tsv.
#
#   BENCH_RUNS=5           runs of each tool; the report shows medians
#   BENCH_SITES=3          number of sites, each with a cluster of its own
#   BENCH_RATE=12500000    bytes per second of each line, each way (100 Mbit/s)
#   BENCH_DELAY=0ms        from one end of a line to the other: half a round trip
#   BENCH_TREE=/usr        what the images hold: its sbin, lib/python3 and share/doc; the second version, another file system
#                          made from scratch, has include besides
#   BENCH_TOOLS=...        only these tools, see below
set -euo pipefail
cd "$(dirname "$0")/../.."

runs=${BENCH_RUNS:-5}
rate=${BENCH_RATE:-12500000}
delay=${BENCH_DELAY:-0ms}
tree=${BENCH_TREE:-/usr}
tools=${BENCH_TOOLS:-diff zstd atoll}
sites=()
for ((i = 0; i < ${BENCH_SITES:-3}; i++)); do sites+=("dcn$i"); done

# shellcheck source=e2e/bench/stage.sh
. e2e/bench/stage.sh
# shellcheck source=e2e/bench/lines.sh
. e2e/bench/lines.sh
results=$work/links.tsv
declare -A image=()

# make_image FILE DIR... makes a file system of 3 GiB with the directories in it.
make_image() {
	local file=$1 dir
	shift
	rm -rf "$lab/tree" "$file"
	mkdir "$lab/tree"
	for dir in "$@"; do
		mkdir -p "$lab/tree/$(dirname "$dir")"
		cp -a "$tree/$dir" "$lab/tree/$dir"
	done
	truncate -s 3G "$file"
	mke2fs -q -t ext4 -d "$lab/tree" "$file"
}

# diff_one SITE VERSION and zstd_one copy one image to one site.
diff_one() {
	r central export-diff --no-progress --whole-object "images/${image[$2]}@snap" - |
		through_line "$1" |
		r "$1" import-diff --no-progress - "images/$2"
}

zstd_one() {
	r central export-diff --no-progress --whole-object "images/${image[$2]}@snap" - | zstd -q -1 |
		through_line "$1" | zstd -q -d |
		r "$1" import-diff --no-progress - "images/$2"
}

# one_to SITE copies a version to a site by a tool; both are set by rival.
one_to() {
	r "$1" create --size 3G "images/$version"
	"${tool}_one" "$1" "$version"
	r "$1" snap protect "images/$version@snap"
}

# rival TOOL VERSION copies to all sites at once.
rival() {
	local tool=$1 version=$2
	at_once one_to "${sites[@]}"
}

copy() {
	if [[ $1 == atoll ]]; then
		ctl image copy "${image[$2]}" --stores "$(joined "${sites[@]}")"
	else
		rival "$1" "$2"
	fi
}

# once TOOL VERSION adds a line to the results: tool, version, seconds, bytes per site.
once() {
	local began ended before=0 after kind=pipe
	sync
	if [[ $1 == atoll ]]; then
		kind=line
		until_true 120 atoll_staging_empty
		before=$(line_bytes line "${sites[@]}")
	fi
	began=$(now)
	copy "$1" "$2" >>"$work/links.log" 2>&1
	ended=$(now)
	after=$(line_bytes "$kind" "${sites[@]}")
	printf '%s\t%s\t%s\t%d\n' "$1" "$2" "$(minus "$ended" "$began")" $(((after - before) / ${#sites[@]})) | tee -a "$results" >&2
}

wipe() {
	local site version
	for version in v2 v1; do
		for site in "${sites[@]}"; do
			if [[ $1 == atoll ]]; then
				ctl replica delete "${image[$version]}" "$site" >>"$work/links.log"
			else
				r "$site" snap unprotect "images/$version@snap"
				r "$site" snap rm "images/$version@snap"
				r "$site" rm "images/$version"
			fi
		done
	done >/dev/null 2>&1
}

report() {
	printf '%d sites, each behind a line of %d bytes/s and %s one way; %d runs of each tool in turn; medians.\n\n' \
		"${#sites[@]}" "$rate" "$delay" "$runs"
	sort -t $'\t' -k2,2 -k1,1 -k3,3n "$results" | awk -F '\t' -v rate="$rate" '
		{ k = $2 "\t" $1; if (!(k in n)) order[++keys] = k; wall[k, ++n[k]] = $3; bytes[k, n[k]] = $4 }
		function median(k) { return wall[k, int((n[k] + 1) / 2)] }
		END {
			name["atoll"] = "Atoll"; name["diff"] = "`rbd export-diff \\| rbd import-diff`"; name["zstd"] = "the same with `zstd -1` between"
			print "| version | tool | seconds | over Atoll | MiB over each line | part of the line used |\n|---|---|---|---|---|---|"
			for (i = 1; i <= keys; i++) {
				k = order[i]; split(k, p, "\t"); b = bytes[k, int((n[k] + 1) / 2)]
				printf "| %s | %s | %.1f | %s | %.1f | %.0f %% |\n", p[1] == "v1" ? "first" : "second", name[p[2]], median(k),
					((p[1] "\tatoll") in n) ? sprintf("%.2f", median(k) / median(p[1] "\tatoll")) : "-", b / 2^20, 100 * b / rate / median(k)
			}
		}'
}

main() {
	local run tool version
	: >"$results"
	: >"$work/links.log"
	LAB_OSD_SIZE=20G start_clusters central "${sites[@]}"
	lines_start "${sites[@]}"
	atoll_start
	say "making two images of $tree"
	make_image "$work/v1.raw" sbin lib/python3 share/doc
	make_image "$work/v2.raw" sbin lib/python3 share/doc include
	for version in v1 v2; do
		atoll_import "$work/$version.raw"
		image[$version]=$source_image
		rm "$work/$version.raw"
	done
	say "tool, version, seconds, bytes over each line"
	for ((run = 1; run <= runs; run++)); do
		for tool in $tools; do
			once "$tool" v1
			once "$tool" v2
			wipe "$tool"
		done
	done
	report
}

main
