#!/usr/bin/env bash
# Measures one image on its way to many sites at once: what is read from the central cluster, what the hub holds in memory, and
# what a site that stops in the middle does to the others. Beside it `rbd export-diff`, once for each site. Prints a report in
# Markdown; raw figures stay in .build/bench/fanout.tsv.
#
#   BENCH_RUNS=5              runs of each; the report shows medians
#   BENCH_SITES="1 3 10 50"   numbers of sites; with the largest, one site is stopped as well
#   BENCH_MIB=256             random data in the image
#
# The central store is in a Ceph cluster. The sites have stores of sparse files: fifty clusters do not fit on one machine.
set -euo pipefail
cd "$(dirname "$0")/../.."

runs=${BENCH_RUNS:-5}
mib=${BENCH_MIB:-256}
read -r -a counts <<<"${BENCH_SITES:-1 3 10 50}"
most=${counts[-1]}
sites=()
for ((i = 0; i < most; i++)); do sites+=("dcn$i"); done

# shellcheck source=e2e/bench/stage.sh
. e2e/bench/stage.sh
results=$work/fanout.tsv

# atoll_store SITE is the one of atoll.sh for sites without Ceph.
atoll_store() {
	if [[ $1 == central ]]; then
		printf '{id: central, driver: ceph, ceph_conf: %s, user: atoll, pool: images}\n' "$lab/central/ceph.conf"
	else
		mkdir -p "$lab/stores/$1"
		printf '{id: %s, driver: file, path: %s}\n' "$1" "$lab/stores/$1"
	fi
}

# active prints how many sites have the image.
active() { ctl replica list --image "$source_image" -o json | grep -c '"REPLICA_PHASE_ACTIVE"' || true; }
has_active() { (($(active) >= $1)); }

wipe_sites() {
	atoll_wipe "$@"
	until_true 120 atoll_staging_empty
}

# cpu prints the CPU seconds of the hub so far.
cpu() { cpu_of "$(atoll_pid hub)"; }

# add NAME COUNT BEGAN READ CPU adds a line to the results: what, sites, seconds, bytes read from central, MiB of the hub, CPU
# seconds of the hub.
add() {
	printf '%s\t%d\t%s\t%d\t%s\t%s\n' "$1" "$2" "$(minus "$(now)" "$3")" $(($(osd_counter central op_r_out_bytes) - $4)) \
		"$(peak_memory "$(atoll_pid hub)")" "$(minus "$(cpu)" "$5")" | tee -a "$results" >&2
}

# some_data says whether the first site has an eighth of the image.
some_data() { (($(du -sm "$lab/stores/dcn0" | cut -f1) >= mib / 8)); }

# copy COUNT [STOP] copies to the first sites. With STOP the first one is frozen when it has some data, and the time is that of
# the others; then it goes on.
copy() {
	local count=$1 name=atoll began before used
	sync
	echo 5 >"/proc/$(atoll_pid hub)/clear_refs" # forgets the peak of memory
	before=$(osd_counter central op_r_out_bytes)
	used=$(cpu)
	began=$(now)
	ctl image copy "$source_image" --stores "$(joined "${sites[@]:0:count}")" --wait=false >>"$work/atoll/ctl.log" 2>&1
	if [[ ${2:-} ]]; then
		name=stopped
		until_true 120 some_data
		kill -STOP "$(atoll_pid dcn0)"
		count=$((count - 1))
	fi
	until_true 900 has_active $((count + 1)) # and central
	add "$name" "$1" "$began" "$before" "$used"
	if [[ ${2:-} ]]; then
		(($(active) == count + 1)) || { say 'the stopped site has finished: it was stopped too late'; exit 1; }
		kill -CONT "$(atoll_pid dcn0)"
		until_true 300 has_active $(($1 + 1))
	fi
	wipe_sites "${sites[@]:0:$1}"
}

# rival COUNT reads the image once for each site, as the copies to that many clusters would.
rival() {
	local began before i
	before=$(osd_counter central op_r_out_bytes)
	began=$(now)
	for ((i = 0; i < $1; i++)); do
		r central export-diff --no-progress --whole-object "images/$source_image@snap" - >/dev/null
	done
	printf 'rival\t%d\t%s\t%d\t-\t-\n' "$1" "$(minus "$(now)" "$began")" $(($(osd_counter central op_r_out_bytes) - before)) | tee -a "$results" >&2
}

# row WHAT COUNT NAME prints the medians of a line of the table.
row() {
	local of=$work/fanout.row seconds=-
	awk -F '\t' -v OFS='\t' -v what="$1" -v count="$2" '$1 == what && $2 == count { $1 = "row"; print }' "$results" >"$of"
	[[ $1 == rival ]] || seconds=$(column "$of" row 3 | median)
	printf '| %s | %d | %s | %s | %s | %s |\n' "$3" "$2" "$seconds" \
		"$(column "$of" row 4 | median | awk '{ printf "%.1f", $1 / 2^20 }')" "$(column "$of" row 5 | worst)" "$(column "$of" row 6 | median)"
	rm "$of"
}

report() {
	local count
	machine
	printf 'An image of %d MiB of random data; %d runs of each in turn; medians, of memory the most.\n\n' "$mib" "$runs"
	printf '| tool | sites | seconds to the last | MiB read from central | hub, MiB of memory | CPU s of the hub |\n|---|---|---|---|---|---|\n'
	for count in "${counts[@]}"; do row atoll "$count" Atoll; done
	row stopped "$most" 'Atoll, one site frozen in the middle: the others'
	for count in "${counts[@]}"; do row rival "$count" "\`rbd export-diff\`, once for each site"; done
}

main() {
	local i count
	: >"$results"
	start_clusters central
	atoll_start
	head -c "${mib}M" /dev/urandom >"$work/source.raw"
	atoll_import "$work/source.raw"
	rm "$work/source.raw"
	until_true 120 atoll_staging_empty
	say "what, sites, seconds, bytes read from central, MiB of the hub, CPU seconds of the hub"
	for ((i = 0; i < runs; i++)); do
		for count in "${counts[@]}"; do
			copy "$count"
			rival "$count"
		done
		copy "$most" stop
	done
	report
}

main
