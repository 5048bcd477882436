#!/usr/bin/env bash
# Damages copies behind Atoll's back, with rados, and looks whether it is found and named: before a copy is published, while it
# is filled, and at rest. After each find the repaired copy is verified once more: a complaint then is a false alarm. Beside it
# the same damage to a copy that `rbd import-diff` has made. Prints a report in Markdown; raw figures stay in
# .build/bench/damage.tsv.
#
#   BENCH_DAMAGES=200     how often, over all kinds, half of them before publishing
#   BENCH_SEED=...        of what is damaged; printed
#
# The image has 10 objects of random data and 4 without any between them.
set -euo pipefail
cd "$(dirname "$0")/../.."

damages=${BENCH_DAMAGES:-200}
seed=${BENCH_SEED:-$RANDOM}
kinds=(flip swap truncate stale missing extra)
full=(0 1 2 4 5 7 8 9 11 13) # objects with data; the others of the 14 have none
empty=(3 6 10 12)
object_bytes=$((4 << 20))
image_bytes=$((14 * object_bytes))
sites=(dcn0)
target=target

# shellcheck source=e2e/bench/stage.sh
. e2e/bench/stage.sh
results=$work/damage.tsv
hub_flags=(--staging-retention 1h)
RANDOM=$seed

# pick WORD... sets picked to one of them.
pick() {
	shift $((RANDOM % $#))
	picked=$1
}

# rados_on ARGS... works on the pool of the site.
rados_on() { rados -c "$lab/dcn0/ceph.conf" --pool images "$@"; }

# object N prints the name of an object of the copy that is looked at.
object() { printf '%s.%016x\n' "$prefix" "$1"; }

# find_prefix NAME sets prefix to what the names of its objects begin with.
find_prefix() { prefix=$(r dcn0 info --format json "images/$1" | grep -o '"block_name_prefix":"[^"]*"' | cut -d'"' -f4); }

fetch() { rados_on get "$(object "$1")" "$2"; }
put() { rados_on put "$(object "$1")" "$2"; }

# piece FILE N OUT takes an object out of an image's file.
piece() { dd if="$1" of="$3" bs="$object_bytes" skip="$2" count=1 status=none; }

# damage KIND OBJECT... does something to one of the objects, which must have data, and sets hit to the chunks that differ then.
damage() {
	local kind=$1 at n other
	shift
	pick "$@"
	n=$picked hit=$picked
	at=$((RANDOM * 128 % object_bytes + RANDOM % 128))
	case $kind in
	flip)
		fetch "$n" "$lab/object"
		flip_bit "$lab/object" "$at"
		put "$n" "$lab/object"
		;;
	swap)
		until [[ $picked != "$n" ]]; do pick "$@"; done
		other=$picked
		fetch "$n" "$lab/object"
		fetch "$other" "$lab/other"
		put "$n" "$lab/other"
		put "$other" "$lab/object"
		hit=$((n < other ? n : other)),$((n < other ? other : n))
		;;
	truncate) rados_on truncate "$(object "$n")" "$at" ;;
	stale)
		piece "$work/older.raw" "$n" "$lab/object"
		put "$n" "$lab/object"
		;;
	missing) rados_on rm "$(object "$n")" ;;
	extra)
		pick "${empty[@]}"
		hit=$picked
		piece "$work/older.raw" "$n" "$lab/object"
		put "$picked" "$lab/object"
		;;
	esac
}

# flip_bit FILE OFFSET changes one bit.
flip_bit() {
	local byte
	byte=$(od -An -tu1 -j "$2" -N 1 "$1")
	printf '%b' "$(printf '\\x%02x' $((byte ^ 1 << RANDOM % 8)))" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

# log_lines prints how long the agent's log is; new_in_log FROM prints what has come since.
log_lines() { wc -l <"$work/atoll/dcn0.log"; }
new_in_log() { tail -n +$(($1 + 1)) "$work/atoll/dcn0.log"; }

is_active() { ctl replica show "$source_image" dcn0 -o json | grep -q '"REPLICA_PHASE_ACTIVE"'; }

# verdict PLACE KIND SAID adds a line to the results: place, kind, whether all chunks were named and no other, and which.
verdict() {
	local outcome=missed
	if [[ $3 == "$hit" ]]; then outcome=named; elif [[ $3 ]]; then outcome=found; fi
	printf '%s\t%s\t%s\t%s\t%s\n' "$1" "$2" "$outcome" "$hit" "${3:--}" | tee -a "$results" >&2
}

# clean PLACE verifies what is undamaged.
clean() {
	local outcome=quiet
	ctl replica verify "$source_image" dcn0 >>"$work/atoll/ctl.log" 2>&1 || outcome=alarm
	printf '%s\tundamaged\t%s\t-\t-\n' "$1" "$outcome" >>"$results"
	[[ $outcome == quiet ]] || say "false alarm"
}

# late KIND says whether a verification finds what was published.
late() {
	local outcome=missed
	ctl replica verify "$source_image" dcn0 >>"$work/atoll/ctl.log" 2>&1 || outcome=found
	printf 'late\t%s\t%s\t%s\t-\n' "$1" "$outcome" "$hit" | tee -a "$results" >&2
	until_true 120 is_active
}

# written prints the numbers of the objects that a copy has so far.
written() {
	local n
	for n in $(rados_on ls | grep -F "$prefix." | sed 's/.*\.//'); do
		printf '%d\n' $((16#$n))
	done
}

# enough says whether some objects are there, and remembers them.
enough() {
	mapfile -t there < <(written)
	((${#there[@]} >= 3))
}

# at_rest KIND damages a published copy; a verification has to name it, and the hub makes the copy again.
at_rest() {
	local before said
	find_prefix "$source_image"
	damage "$1" "${full[@]}"
	before=$(log_lines)
	ctl replica verify "$source_image" dcn0 >>"$work/atoll/ctl.log" 2>&1 || true
	# The log has the number of damaged chunks and the first one.
	said=$(new_in_log "$before" | grep -o 'published copy is damaged.* chunks=[0-9]* chunk=[0-9]*' | tail -n 1 | grep -o 'chunks=.*' || true)
	[[ $said != "chunks=$(tr ',' '\n' <<<"$hit" | wc -l) chunk=${hit%%,*}" ]] || said=$hit
	verdict rest "$1" "${said// /,}"
	if [[ ! $said ]]; then atoll_wipe dcn0; ctl image copy "$source_image" --stores dcn0 >>"$work/atoll/ctl.log" 2>&1; fi
	until_true 120 is_active
	clean rest
}

# before_publishing KIND stops a copy in the middle, damages what is there and lets it go on.
before_publishing() {
	local before said
	ctl site limit dcn0 --rate 12MiB/s >>"$work/atoll/ctl.log"
	before=$(log_lines)
	ctl image copy "$source_image" --stores dcn0 --wait=false >>"$work/atoll/ctl.log" 2>&1
	until_true 60 find_prefix "atoll.$source_image"
	until_true 60 enough
	ctl site pause dcn0 >>"$work/atoll/ctl.log"
	until_true 60 still
	damage "$1" "${there[@]}"
	ctl site limit dcn0 --clear >>"$work/atoll/ctl.log"
	ctl site resume dcn0 >>"$work/atoll/ctl.log"
	until_true 120 is_active
	said=$(new_in_log "$before" | grep -o 'corrupt chunk, fetching it again.* chunk=[0-9]* .*where=store' | grep -o 'chunk=[0-9]*' | cut -d= -f2 | sort -n | paste -sd, || true)
	verdict before "$1" "$said"
	if [[ $said ]]; then clean before; else late "$1"; fi
	atoll_wipe dcn0
}

# still says whether no further object appears, and remembers those that are there.
still() {
	local -a seen=("${there[@]}")
	sleep 0.3
	mapfile -t there < <(written)
	[[ ${there[*]} == "${seen[*]}" ]] && ctl replica show "$source_image" dcn0 -o json | grep -q SITE_PAUSED
}

# rival KIND damages a copy that import-diff has made, and reads it: an error would be a find.
rival() {
	local outcome=missed sum
	new_image dcn0
	r central export-diff --no-progress --whole-object "images/$source_image@snap" - | r dcn0 import-diff --no-progress - "images/$target"
	find_prefix "$target"
	damage "$1" "${full[@]}"
	if ! r dcn0 export --no-progress "images/$target@snap" - >"$lab/export" 2>>"$work/tools.log"; then
		outcome=found
	else
		sum=$(sha256sum <"$lab/export" | cut -d' ' -f1)
		[[ $sum != "$source_sum" ]] || outcome=same
	fi
	printf 'rival\t%s\t%s\t%s\t-\n' "$1" "$outcome" "$hit" | tee -a "$results" >&2
	publish dcn0
	wipe dcn0
}

report() {
	machine
	printf '%d objects with data; seed %s.\n\n' "${#full[@]}" "$seed"
	awk -F '\t' '
		{ k = $1 "\t" $2; total[k]++; n[k, $3]++ }
		function row(place,   k) {
			k = place "\t" kind[i]
			return sprintf(" %d of %d | %d |", n[k, "named"] + n[k, "found"], total[k], n[k, "named"])
		}
		END {
			split("flip swap truncate stale missing extra", kind, " ")
			split("a bit flipped|two objects swapped|an object cut short|an older object|an object missing|an object too many", text, "|")
			print "| damage | found before publishing | and named | found at rest | and named | `rbd import-diff`, then `rbd export` |\n|---|---|---|---|---|---|"
			for (i = 1; i <= 6; i++) {
				k = "rival\t" kind[i]
				printf "| %s |%s%s %s |\n", text[i], row("before"), row("rest"),
					n[k, "missed"] ? "other bytes, no error" : n[k, "same"] ? "no error, the same bytes" : n[k, "found"] ? "error" : "-"
			}
			quiet = n["before\tundamaged", "quiet"] + n["rest\tundamaged", "quiet"]
			alarms = n["before\tundamaged", "alarm"] + n["rest\tundamaged", "alarm"]
			for (i = 1; i <= 6; i++) {
				k = "late\t" kind[i]
				if (total[k]) printf "\n%s: published %d times; the next verification found %d of them.\n", text[i], total[k], n[k, "found"]
			}
			printf "\n%d verifications of undamaged copies: %d false alarms.\n", quiet + alarms, alarms
		}' "$results"
}

main() {
	local i n kind
	: >"$results"
	start_clusters central dcn0
	truncate -s "$image_bytes" "$work/source.raw" "$work/older.raw"
	for n in "${full[@]}"; do
		dd if=/dev/urandom of="$work/source.raw" bs="$object_bytes" count=1 seek="$n" conv=notrunc status=none
		dd if=/dev/urandom of="$work/older.raw" bs="$object_bytes" count=1 seek="$n" conv=notrunc status=none
	done
	source_sum=$(sha256sum <"$work/source.raw" | cut -d' ' -f1)
	atoll_start
	atoll_import "$work/source.raw"
	say "seed $seed; place, damage, outcome, chunks that differ, chunks named"
	for ((i = 0; i < damages / 2; i++)); do
		before_publishing "${kinds[i % ${#kinds[@]}]}"
	done
	ctl image copy "$source_image" --stores dcn0 >>"$work/atoll/ctl.log" 2>&1
	for ((i = 0; i < (damages + 1) / 2; i++)); do
		at_rest "${kinds[i % ${#kinds[@]}]}"
	done
	for kind in "${kinds[@]}"; do
		rival "$kind"
	done
	report
}

main
