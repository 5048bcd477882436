# Atoll itself, for run.sh: a hub and one agent per cluster, all on this machine. The tools are called atoll_tls SITE...
# and atoll_unix SITE..., which differ in how the agents move frames: HTTPS, or the hub's unix socket.
# shellcheck shell=bash disable=SC2154 # run.sh sets what is not set here

# shellcheck source=e2e/lab/process.sh
. e2e/lab/process.sh

atoll_bin=$PWD/.build/bin
atoll_mode=
atoll_port=$((31000 + RANDOM % 100 * 10))
export ATOLL_HUB=127.0.0.1:$atoll_port

ctl() { timeout 900 "$atoll_bin/atollctl" "$@"; }

# hub_flags are further ones of the hub.
hub_flags=(--staging-retention 1s)

# until_true SECONDS COMMAND... waits for another process: it asks again until the command succeeds.
until_true() {
	local deadline=$((SECONDS + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		((SECONDS < deadline)) || { say "still not true: $*"; return 1; }
		sleep 0.2
	done
}

# atoll_run_hub starts the hub, atoll_run SITE an agent.
atoll_run_hub() {
	process_start "$work/atoll/hub.pid" "$work/atoll/hub.log" "$atoll_bin/atoll-hub" --data-dir "$work/atoll/hub" --image-addr '' \
		--grpc-addr "$ATOLL_HUB" --link-addr "127.0.0.1:$((atoll_port + 1))" --frames-addr "127.0.0.1:$((atoll_port + 2))" \
		--metrics-addr "127.0.0.1:$((atoll_port + 3))" "${hub_flags[@]}"
}

atoll_run() {
	process_start "$work/atoll/$1.pid" "$work/atoll/$1.log" "$atoll_bin/atoll-agent" run --config "$work/atoll/$1.yaml"
}

# atoll_kill NAME ends a process by SIGKILL and returns when it is gone, with its locks.
atoll_kill() {
	local pid
	pid=$(atoll_pid "$1")
	process_signal "$work/atoll/$1.pid" atoll KILL
	until_true 20 gone "$pid"
}

# gone PID says whether a process and all its threads, which hold its files, have ended; nobody may have asked for its end yet.
gone() {
	[[ -e /proc/$1 ]] || return 0
	[[ $(cat "/proc/$1/stat") == *") Z "* && $(ls "/proc/$1/task") == "$1" ]]
}

atoll_start() {
	local name token
	rm -rf "$work/atoll"
	mkdir -p "$work/atoll"
	atoll_run_hub
	until_true 60 ctl site list
	for name in central "${sites[@]}"; do
		atoll_config "$name" tls
		token=$(ctl site create "$name" -o json | grep -o 'atoll1\.[A-Za-z0-9_-]*')
		until_true 130 atoll_join "$name" # the hub lets only so many in each minute
	done
	atoll_agents tls
}

# atoll_join SITE trades the token for a certificate.
atoll_join() { "$atoll_bin/atoll-agent" join --config "$work/atoll/$1.yaml" --token "$token"; }

# atoll_gate SITE prints the port at which a site finds the hub; the next one is that of frames.
atoll_gate() { printf '%d\n' $((atoll_port + 1)); }

# atoll_store SITE prints the store of a site.
atoll_store() { printf '{id: %s, driver: ceph, ceph_conf: %s, user: atoll, pool: images}\n' "$1" "$lab/$1/ceph.conf"; }

# atoll_config SITE MODE writes an agent's configuration.
atoll_config() {
	local port frames
	port=$(atoll_gate "$1")
	frames=https://127.0.0.1:$((port + 1))
	[[ $2 == tls ]] || frames=unix:$work/atoll/hub/frames.sock
	cat >"$work/atoll/$1.yaml" <<-YAML
		site: $1
		hub: {link: "127.0.0.1:$port", frames: "$frames"}
		state_dir: $work/atoll/$1
		stores:
		  - $(atoll_store "$1")
	YAML
}

# atoll_agents MODE starts the agents anew, so that they move frames in another way, and waits until all are connected.
atoll_agents() {
	local name
	[[ $atoll_mode != "$1" ]] || return 0
	for name in central "${sites[@]}"; do
		atoll_stop_agent "$name"
		atoll_config "$name" "$1"
		atoll_run "$name"
	done
	atoll_mode=$1
	until_true 60 atoll_connected
}

# atoll_connected says whether every store is healthy.
atoll_connected() {
	local name
	for name in central "${sites[@]}"; do
		ctl store show "$name" -o json | grep -Eq '"healthy": *true' || return 1
	done
}

# atoll_pid NAME prints the number of a process: hub, or the agent of a site.
atoll_pid() { cat "$work/atoll/$1.pid"; }

# atoll_stop_agent NAME stops an agent, and keeps how much memory it took.
atoll_stop_agent() {
	atoll_note_memory "$1"
	process_stop "$work/atoll/$1.pid" atoll-agent "$work/atoll/$1.yaml" 20
}

atoll_stop() {
	local name
	for name in central "${sites[@]}"; do
		atoll_stop_agent "$name"
	done
	process_stop "$work/atoll/hub.pid" atoll-hub "$work/atoll/hub" 20
}

# atoll_note_memory NAME adds the peak memory of a process to the notes, if it runs.
atoll_note_memory() {
	process_alive "$work/atoll/$1.pid" atoll || return 0
	printf '%s\t%s\n' "$1" "$(peak_memory "$(atoll_pid "$1")")" >>"$work/atoll/memory"
}

# atoll_memory prints the largest peak of the hub and of each agent.
atoll_memory() {
	local name
	for name in hub central "${sites[@]}"; do
		atoll_note_memory "$name"
	done
	sort -t $'\t' -k1,1 -k2,2nr "$work/atoll/memory" | awk -F '\t' -v OFS='\t' '!seen[$1]++ { print ($1 == "hub" ? "hub" : "agent of " $1), $2 }'
}

# atoll_import FILE brings the image into the central store only; all tools copy it from there.
atoll_import() {
	source_image=$(</proc/sys/kernel/random/uuid)
	ctl image import "$1" --id "$source_image" --name bench --stores central >>"$work/atoll/ctl.log" 2>&1
}

# atoll_prepare TOOL brings the agents into the right mode and waits until the staging area is empty, so that the copy
# has to be read from central.
atoll_prepare() {
	atoll_agents "${1#atoll_}"
	until_true 120 atoll_staging_empty
}

# atoll_metric NAME prints a metric of the hub, the sum of what has its name.
atoll_metric() {
	timeout 5 bash -c "exec 3<>/dev/tcp/127.0.0.1/$((atoll_port + 3)); printf 'GET /metrics HTTP/1.0\r\n\r\n' >&3; cat <&3" |
		awk -v name="$1" '{ sub(/\{.*\}/, "", $1) } $1 == name { n += $2; found = 1 } END { if (found) printf "%.0f\n", n; else exit 1 }'
}

atoll_staging_empty() { [[ $(atoll_metric atoll_staging_used_bytes) == 0 ]]; }

# joined prints words with commas between them.
joined() {
	local IFS=,
	printf '%s' "$*"
}

atoll_copy() { ctl image copy "$source_image" --stores "$(joined "$@")"; }
atoll_tls() { atoll_copy "$@"; }
atoll_unix() { atoll_copy "$@"; }

atoll_wipe() {
	local site
	for site in "$@"; do
		ctl replica delete "$source_image" "$site" >>"$work/atoll/ctl.log" 2>&1
	done
}

# atoll_empty measures an image without data: its import to central, then its copy to one site after the other.
atoll_empty() {
	local file=$work/empty.raw id began site
	id=$(</proc/sys/kernel/random/uuid)
	truncate -s "${empty_gib}G" "$file"
	began=$(now)
	ctl image import "$file" --id "$id" --name empty --stores central >&2
	printf '%d GiB, import to central (the hub reads and hashes every byte)\t%s\n' "$empty_gib" "$(minus "$(now)" "$began")"
	for site in "${sites[@]}"; do
		began=$(now)
		ctl image copy "$id" --stores "$site" >&2
		printf '%d GiB, copy to %s\t%s\n' "$empty_gib" "$site" "$(minus "$(now)" "$began")"
	done
	began=$(now)
	ctl image delete "$id" >&2
	printf '%d GiB, delete of all four copies\t%s\n' "$empty_gib" "$(minus "$(now)" "$began")"
}
