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

work=$PWD/.build/bench
results=$work/links.tsv
mkdir -p "$work"
lab=$(mktemp -d "$work/lab.XXXXXX")
link=$PWD/.build/bin/bench-link
declare -A image=()

# shellcheck source=e2e/bench/measure.sh
. e2e/bench/measure.sh
# shellcheck source=e2e/bench/atoll.sh
. e2e/bench/atoll.sh

stop() {
	local code=$? site
	trap - EXIT INT TERM
	atoll_stop || code=1
	for site in "${sites[@]}"; do
		process_stop "$work/atoll/link.$site.pid" bench-link 5
	done
	e2e/lab/ceph.sh down "$lab" >&2 || code=1
	rm -rf "$work"/*.raw "$work/tree"
	exit "$code"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

say() { printf '%s\n' "$*" >&2; }

r() {
	local site=$1
	shift
	rbd -c "$lab/$site/ceph.conf" "$@"
}

# line_port SITE prints the first of the two ports of a site's line: for the control link and for frames.
line_port() { printf '%d\n' $((atoll_port + 10 + 2 * ${1#dcn})); }

# atoll_config SITE MODE is the one of atoll.sh for sites behind lines.
atoll_config() {
	local port=$((atoll_port + 1))
	[[ $1 == central ]] || port=$(line_port "$1")
	cat >"$work/atoll/$1.yaml" <<-YAML
		site: $1
		hub: {link: "127.0.0.1:$port", frames: "https://127.0.0.1:$((port + 1))"}
		state_dir: $work/atoll/$1
		stores:
		  - {id: $1, driver: ceph, ceph_conf: $lab/$1/ceph.conf, user: atoll, pool: images}
	YAML
	[[ $1 == central ]] || process_alive "$work/atoll/link.$1.pid" bench-link ||
		process_start "$work/atoll/link.$1.pid" "$work/atoll/link.log" "$link" --rate "$rate" --delay "$delay" \
			--bytes "$work/atoll/line.$1" "127.0.0.1:$port=127.0.0.1:$((atoll_port + 1))" \
			"127.0.0.1:$((port + 1))=127.0.0.1:$((atoll_port + 2))"
}

# make_image FILE DIR... makes a file system of 3 GiB with the directories in it.
make_image() {
	local file=$1 dir
	shift
	rm -rf "$work/tree" "$file"
	mkdir "$work/tree"
	for dir in "$@"; do
		mkdir -p "$work/tree/$(dirname "$dir")"
		cp -a "$tree/$dir" "$work/tree/$dir"
	done
	truncate -s 3G "$file"
	mke2fs -q -t ext4 -d "$work/tree" "$file"
}

# diff_one SITE VERSION and zstd_one copy one image to one site.
diff_one() {
	r central export-diff --no-progress --whole-object "images/${image[$2]}@snap" - |
		"$link" --rate "$rate" --delay "$delay" --bytes "$work/atoll/pipe.$1" |
		r "$1" import-diff --no-progress - "images/$2"
}

zstd_one() {
	r central export-diff --no-progress --whole-object "images/${image[$2]}@snap" - | zstd -q -1 |
		"$link" --rate "$rate" --delay "$delay" --bytes "$work/atoll/pipe.$1" | zstd -q -d |
		r "$1" import-diff --no-progress - "images/$2"
}

# rival TOOL VERSION copies to all sites at once.
rival() {
	local site pid failed=0
	local -a pids=()
	for site in "${sites[@]}"; do
		{ r "$site" create --size 3G "images/$2" && "$1_one" "$site" "$2" && r "$site" snap protect "images/$2@snap"; } &
		pids+=($!)
	done
	for pid in "${pids[@]}"; do
		wait "$pid" || failed=1
	done
	return "$failed"
}

copy() {
	if [[ $1 == atoll ]]; then
		ctl image copy "${image[$2]}" --stores "$(joined "${sites[@]}")"
	else
		rival "$1" "$2"
	fi
}

# line_bytes LINES prints what all lines have brought to the sites: the ones of Atoll so far, the pipes of rivals in the latest copy.
line_bytes() { sleep 0.3; cat "$work/atoll/$1".* | awk '{ n += $1 } END { printf "%.0f\n", n }'; }

# once TOOL VERSION adds a line to the results: tool, version, seconds, bytes per site.
once() {
	local began ended before=0 after lines=pipe
	sync
	if [[ $1 == atoll ]]; then
		lines=line
		until_true 120 atoll_staging_empty
		before=$(line_bytes line)
	fi
	began=$(now)
	copy "$1" "$2" >>"$work/links.log" 2>&1
	ended=$(now)
	after=$(line_bytes "$lines")
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
	go build -o "$link" ./e2e/bench/link
	say "starting $((${#sites[@]} + 1)) clusters"
	LAB_OSD_SIZE=20G e2e/lab/ceph.sh up "$lab" central "${sites[@]}" >&2
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
