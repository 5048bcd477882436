#!/usr/bin/env bash
# Measures what a kill -9 costs: how many bytes of a copy go over the line again when the agent or the hub is killed at random
# points of it, and how long an agent takes from its start to the first new object, with its journal and without. Beside it
# `rbd export-diff | rbd import-diff`, killed in the same way. Prints a report in Markdown; raw figures stay in
# .build/bench/resume.tsv.
#
#   BENCH_KILLS=50        points at which the agent is killed, and as many for the hub
#   BENCH_RIVAL_KILLS=3   points for the rival
#   BENCH_RUNS=5          restarts with the journal, and as many without
#   BENCH_MIB=1024        random data in the image
#   BENCH_RATE=67108864   bytes per second of the line
#   BENCH_SEED=...        of the points; printed
#   BENCH_PARTS="agent hub restart rival"
#
# Bytes are those the line has passed on towards the site, in a program that knows nothing of Atoll; an undisturbed copy, in the
# same run, is taken off. The hub's own counter of frame bytes and what the agent says itself are shown beside it.
set -euo pipefail
cd "$(dirname "$0")/../.."

kills=${BENCH_KILLS:-50}
rival_kills=${BENCH_RIVAL_KILLS:-3}
runs=${BENCH_RUNS:-5}
mib=${BENCH_MIB:-1024}
rate=${BENCH_RATE:-67108864}
seed=${BENCH_SEED:-$RANDOM}
parts=${BENCH_PARTS:-agent hub restart rival}
delay=0ms
sites=(dcn0)
target=target
image_bytes=$((mib << 20))

# shellcheck source=e2e/bench/stage.sh
. e2e/bench/stage.sh
# shellcheck source=e2e/bench/lines.sh
. e2e/bench/lines.sh
results=$work/resume.tsv
hub_flags=(--staging-retention 1h) # what is read from central does not matter here

# until_passed FILE LEAST waits until a line has passed so many bytes, more closely than until_true does.
until_passed() {
	local deadline=$((SECONDS + 300))
	until (($(cat "$1" 2>/dev/null || echo 0) >= $2)); do
		((SECONDS < deadline)) || { say 'the line stands still'; return 1; }
		sleep 0.02
	done
}

# next_point sets point to a number of bytes of the image.
next_point() { read -r point <&"$points"; }
exec {points}< <(awk -v seed="$seed" -v most="$image_bytes" 'BEGIN { srand(seed); while (1) printf "%.0f\n", rand() * most }')

is_active() { ctl replica show "$source_image" dcn0 -o json | grep -q '"REPLICA_PHASE_ACTIVE"'; }

begin_copy() { until_true 30 ctl image copy "$source_image" --stores dcn0 --wait=false; }
end_copy() { until_true $((120 + 4 * image_bytes / rate)) is_active; }

# said FIELD prints what the agent has written last about a copy that it published.
said() { grep 'fill published' "$work/atoll/dcn0.log" | tail -n 1 | grep -o " $1=[0-9]*" | cut -d= -f2; }

# undisturbed sets what the line and the hub count for one copy.
undisturbed() {
	local line frames
	line=$(line_bytes line dcn0)
	frames=$(atoll_metric atoll_hub_frame_bytes_total)
	begin_copy
	end_copy
	plain_line=$(($(line_bytes line dcn0) - line))
	plain_frames=$(($(atoll_metric atoll_hub_frame_bytes_total) - frames))
	atoll_wipe dcn0
	say "undisturbed: $plain_line bytes over the line, $plain_frames bytes of frames"
}

# kill_once VICTIM adds a line to the results: who, where in the image, bytes sent again by the line, by the hub's counter (the
# agent only: the hub's begins anew) and by what the agent says.
kill_once() {
	local victim=$1 line frames at point again counted=- claimed
	next_point
	line=$(line_bytes line dcn0)
	frames=$(atoll_metric atoll_hub_frame_bytes_total)
	begin_copy
	until_passed "$lab/line.dcn0" $((line + point))
	at=$(($(<"$lab/line.dcn0") - line))
	if [[ $victim == agent ]]; then
		atoll_kill dcn0
		atoll_run dcn0
	else
		atoll_kill hub
		atoll_run_hub
	fi
	end_copy
	again=$(($(line_bytes line dcn0) - line - plain_line))
	if [[ $victim == agent ]]; then
		counted=$(($(atoll_metric atoll_hub_frame_bytes_total) - frames - plain_frames))
		claimed=$((at - $(said resumed)))
	else
		claimed=$(($(said received) - image_bytes))
	fi
	printf '%s\t%s\t%s\t%s\t%s\n' "$victim" "$point" "$again" "$counted" "$claimed" | tee -a "$results" >&2
	atoll_wipe dcn0
}

# settled says whether the OSD of the site has taken nothing for a moment.
settled() {
	local before
	before=$(osd_counter dcn0 op_w_in_bytes)
	sleep 0.3
	[[ $(osd_counter dcn0 op_w_in_bytes) == "$before" ]]
}

# restart JOURNAL kills the agent in the middle and adds: restart-kept or restart-deleted, seconds from the start of the new agent
# to its first new object, GiB that the site had.
restart() {
	local line before began took
	line=$(line_bytes line dcn0)
	begin_copy
	until_passed "$lab/line.dcn0" $((line + image_bytes / 2))
	atoll_kill dcn0
	until_true 30 settled
	[[ $1 == kept ]] || rm -r "$work/atoll/dcn0/journal"
	before=$(osd_counter dcn0 op_w_in_bytes)
	began=$(now)
	atoll_run dcn0
	osd_counter dcn0 op_w_in_bytes $((before + (4 << 20))) # one object of random data; all else is far smaller
	took=$(minus "$(now)" "$began")
	end_copy
	printf 'restart-%s\t%s\t%s\n' "$1" "$took" "$(awk -v n="$(said resumed)" 'BEGIN { printf "%.2f", n / 2^30 }')" | tee -a "$results" >&2
	atoll_wipe dcn0
}

# rival_copy runs export-diff and import-diff with a line between them; it writes the number of the latter's process to a file.
rival_copy() {
	rm -f "$lab/pipe.dcn0"
	r central export-diff --no-progress --whole-object "images/$source_image@snap" - 2>/dev/null | through_line dcn0 2>/dev/null |
		{ echo "$BASHPID" >"$lab/importer" && exec rbd -c "$lab/dcn0/ceph.conf" import-diff --no-progress - "images/$target"; }
}

# rival_once kills import-diff, begins again, and adds: rival, point, bytes sent again.
rival_once() {
	local point copy first
	next_point
	new_image dcn0
	rm -f "$lab/pipe.dcn0" "$lab/importer" # of the copy before
	rival_copy &
	copy=$!
	until_passed "$lab/pipe.dcn0" "$point"
	kill -KILL "$(<"$lab/importer")"
	wait "$copy" 2>/dev/null || true
	first=$(<"$lab/pipe.dcn0")
	rival_copy
	printf 'rival\t%s\t%s\t-\t-\n' "$point" $((first + $(<"$lab/pipe.dcn0") - image_bytes)) | tee -a "$results" >&2
	publish dcn0
	wipe dcn0
}

# compare checks that the copy at the site is the source.
compare() {
	begin_copy
	end_copy
	[[ $(r dcn0 export --no-progress "images/$source_image@snap" - | sha256sum | cut -d' ' -f1) == "$source_sum" ]] || { say 'the copy differs'; exit 1; }
	atoll_wipe dcn0
}

report() {
	machine
	printf 'An image of %d MiB of random data over a line of %d bytes/s; seed %s.\n\n' "$mib" "$rate" "$seed"
	printf '| killed | points | MiB sent again, median | worst | worst by the hub'\''s counter | worst by the agent'\''s own account |\n|---|---|---|---|---|---|\n'
	local row name
	for row in agent hub rival; do
		[[ $(column "$results" "$row" 3) ]] || continue
		name=$row
		[[ $row != rival ]] || name="\`rbd import-diff\`, all it had been sent"
		printf '| %s | %d | %s | %s | %s | %s |\n' "$name" "$(column "$results" "$row" 3 | wc -l)" \
			"$(column "$results" "$row" 3 | median | in_mib)" "$(column "$results" "$row" 3 | worst | in_mib)" \
			"$(column "$results" "$row" 4 | worst | in_mib)" "$(column "$results" "$row" 5 | worst | in_mib)"
	done
	[[ $(column "$results" restart-kept 2) ]] || return 0
	printf '\n| journal | runs | seconds from start to the first new object, median | worst | GiB the site had |\n|---|---|---|---|---|\n'
	for row in kept deleted; do
		printf '| %s | %d | %s | %s | %s |\n' "$row" "$(column "$results" "restart-$row" 2 | wc -l)" "$(column "$results" "restart-$row" 2 | median)" \
			"$(column "$results" "restart-$row" 2 | worst)" "$(column "$results" "restart-$row" 3 | median)"
	done
}

in_mib() { awk '{ if ($1 == "-") print "-"; else printf "%.1f\n", ($1 > 0 ? $1 : 0) / 2^20 }'; }

has() { [[ " $parts " == *" $1 "* ]]; }

main() {
	local i
	: >"$results"
	start_clusters central dcn0
	lines_start dcn0
	atoll_start
	head -c "$image_bytes" /dev/urandom >"$work/source.raw"
	source_sum=$(sha256sum <"$work/source.raw" | cut -d' ' -f1)
	atoll_import "$work/source.raw"
	rm "$work/source.raw"
	say "seed $seed; killed, point, bytes sent again by the line, by the hub's counter, by the agent's own account"
	if has agent || has hub; then undisturbed; fi
	for ((i = 0; i < kills; i++)); do
		if has agent; then kill_once agent; fi
		if has hub; then kill_once hub; fi
	done
	for ((i = 0; i < runs; i++)); do
		has restart || break
		restart kept
		restart deleted
	done
	for ((i = 0; i < rival_kills; i++)); do
		has rival || break
		rival_once
	done
	compare
	report
}

main
