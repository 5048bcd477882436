#!/usr/bin/env bash
# One-node Ceph clusters on loopback: a mon and a file-backed OSD each, cephx on.
# Everything a cluster has (conf, keys, data, logs, pid files) is in DIR/NAME.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=e2e/lab/process.sh
. "$here/process.sh"

pool=images
osd_size=${LAB_OSD_SIZE:-20G}
with_mgr=${LAB_MGR:-}
if [[ -z $with_mgr ]]; then
	if command -v ceph-mgr >/dev/null; then with_mgr=1; else with_mgr=0; fi
fi
start_seconds=${LAB_START_SECONDS:-180}

usage() {
	cat <<-'USAGE'
		usage: ceph.sh COMMAND DIR [NAME...]

		  up DIR [NAME...]        start the clusters (default: central dcn0 dcn1); running ones are left alone
		  down DIR [NAME...]      stop the clusters and delete all they have (default: every cluster in DIR)
		  status DIR [NAME...]    one line per cluster; exit code 1 unless all of them answer
		  osd-stop DIR NAME       stop the OSD in order
		  osd-kill DIR NAME       stop the OSD with SIGKILL
		  osd-pause DIR NAME      freeze the OSD; clients hang until osd-resume
		  osd-resume DIR NAME     thaw the OSD and make it peer again
		  osd-start DIR NAME      start the OSD again and wait until the pool answers

		A cluster has the pool "images" and two users: client.admin, and client.atoll that may only use RBD in that
		pool. "rbd -c DIR/NAME/ceph.conf ls images" works as it is; add "-n client.atoll" for the small user.

		  LAB_OSD_SIZE=20G        size of the sparse OSD file of a new cluster
		  LAB_MGR=1               run a mgr (default: when ceph-mgr is installed): without one there is no "ceph df"
		                          and a full OSD dies instead of refusing writes
		  LAB_START_SECONDS=180   how long a cluster may take to answer
	USAGE
}

fail() {
	printf 'ceph.sh: %s\n' "$*" >&2
	exit 1
}

# ceph_in DIR NAME ARGS... runs the ceph command as admin, never for longer than 2 minutes.
ceph_in() {
	local dir=$1/$2
	shift 2
	timeout -k 5 120 ceph --connect-timeout 100 -c "$dir/ceph.conf" "$@"
}

# Every client runs under "timeout -k": one that waits for an OSD does not end on SIGTERM alone.

# pool_answers says whether the cluster serves I/O: a listing has to read an object from the OSD.
pool_answers() {
	timeout -k 5 "${2:-10}" rbd -c "$1/ceph.conf" ls "$pool" >/dev/null 2>&1
}

# busy_ports prints every TCP port that this machine uses now, in decimal.
busy_ports() {
	local line addr
	while read -r _ addr line; do
		[[ $addr == *:* ]] && printf '%d\n' "0x${addr##*:}"
	done < <(cat /proc/net/tcp /proc/net/tcp6 2>/dev/null)
	return 0
}

# pick_ports DIR COUNT prints the first ports of COUNT free blocks of ten, below the range that the kernel hands out.
pick_ports() {
	local dir=$1 count=$2 block=$((RANDOM % 1100)) tries=0 base port free
	declare -A busy=()
	while read -r port; do busy[$port]=1; done < <(busy_ports)
	while read -r base; do busy[$base]=1; done < <(cat "$dir"/*/port 2>/dev/null || true)
	while ((count > 0)); do
		((tries++ < 1100)) || fail 'no free block of ten ports between 20000 and 31000'
		base=$((20000 + block * 10)) free=1
		block=$(((block + 1) % 1100))
		for ((port = base; port < base + 10; port++)); do
			if [[ -n ${busy[$port]:-} ]]; then free=0; fi
		done
		if ((free)); then
			echo "$base"
			count=$((count - 1))
		fi
	done
}

write_conf() {
	local dir=$1 fsid=$2 port=$3
	cat >"$dir/ceph.conf" <<-CONF
		[global]
		fsid = $fsid
		mon host = [v2:127.0.0.1:$port]
		public network = 127.0.0.0/8
		cluster network = 127.0.0.0/8
		ms bind ipv6 = false
		ms bind msgr1 = false
		ms bind port min = $((port + 1))
		ms bind port max = $((port + 9))
		ms async op threads = 2
		auth cluster required = cephx
		auth service required = cephx
		auth client required = cephx
		auth allow insecure global id reclaim = false
		keyring = $dir/\$name.keyring
		admin socket =
		run dir = $dir/run
		crash dir = $dir/crash
		osd pool default size = 1
		osd pool default min size = 1
		osd pool default pg num = 8
		osd pool default pg autoscale mode = off
		osd crush chooseleaf type = 0
		mon allow pool size one = true
		mon allow pool delete = true
		mon warn on pool no redundancy = false
		mon osd nearfull ratio = 0.80
		mon osd backfillfull ratio = 0.82
		mon osd full ratio = 0.85

		[mon]
		log file = $dir/log/\$name.log
		mon data = $dir/mon
		mon cluster log file = $dir/log/cluster.log
		mon data avail warn = 2
		mon data avail crit = 1
		paxos propose interval = 0.05
		paxos min wait = 0.01

		[osd]
		log file = $dir/log/\$name.log
		osd data = $dir/osd
		osd objectstore = bluestore
		osd memory target = 1073741824
		osd crush initial weight = 1
		osd heartbeat interval = 1
		bluestore block size = $(numfmt --from=iec "$osd_size")

		[mgr]
		log file = $dir/log/\$name.log
		mgr data = $dir/mgr
		mgr module path = $dir/mgr/modules
		mgr stats period = 1
	CONF
}

# write_keys makes one keyring per user and one with all of them, from which the mon fills its store.
write_keys() {
	local dir=$1 name
	local -a mk=(timeout -k 5 120 ceph-authtool --create-keyring --gen-key)
	(
		umask 077
		"${mk[@]}" "$dir/mon.keyring" -n mon. --cap mon 'allow *'
		"${mk[@]}" "$dir/client.admin.keyring" -n client.admin \
			--cap mon 'allow *' --cap osd 'allow *' --cap mgr 'allow *' --cap mds 'allow *'
		"${mk[@]}" "$dir/client.atoll.keyring" -n client.atoll \
			--cap mon 'profile rbd' --cap osd "profile rbd pool=$pool"
		"${mk[@]}" "$dir/osd.0.keyring" -n osd.0 --cap mon 'allow profile osd' --cap mgr 'allow profile osd' --cap osd 'allow *'
		"${mk[@]}" "$dir/mgr.x.keyring" -n mgr.x --cap mon 'allow profile mgr' --cap osd 'allow *' --cap mds 'allow *'
		for name in client.admin client.atoll osd.0 mgr.x; do
			timeout -k 5 120 ceph-authtool "$dir/mon.keyring" --import-keyring "$dir/$name.keyring"
		done
	) >/dev/null
}

start_daemon() {
	local dir=$1 kind=$2 id=$3
	MALLOC_ARENA_MAX=4 process_start "$dir/run/$kind.pid" "$dir/log/$kind.out" \
		"ceph-$kind" -f -c "$dir/ceph.conf" -i "$id"
}

start_mon() { start_daemon "$1" mon a; }
start_osd() { start_daemon "$1" osd 0; }
start_mgr() { start_daemon "$1" mgr x; }

# restart_osd tells the mon first that the OSD had died: otherwise the new one honours the old one's promises to readers,
# and nothing is served for minutes.
restart_osd() {
	ceph_in "$1" "$2" osd down 0 --definitely-dead >/dev/null 2>>"$1/$2/log/lab.out"
	start_osd "$1/$2"
}

daemon_alive() { process_alive "$1/run/$2.pid" "ceph-$2" "$1/ceph.conf"; }

# last_words prints what a cluster's daemons said last, for a start that failed.
last_words() {
	local dir=$1 file
	for file in "$dir"/log/*; do
		[[ -s $file ]] || continue
		printf -- '--- %s\n' "$file"
		tail -n 15 "$file"
	done >&2
}

# await_pool waits until the cluster serves I/O, and gives up early when a daemon has died. A client that comes before
# the OSD is up looks again only every 5 s: short tries find it sooner.
await_pool() {
	local dir=$1 deadline=$((SECONDS + start_seconds)) patience=1
	until pool_answers "$dir" "$patience"; do
		if ! daemon_alive "$dir" mon || ! daemon_alive "$dir" osd || ((SECONDS >= deadline)); then
			return 1
		fi
		sleep 0.1
		patience=$((patience < 20 ? patience + 1 : 20))
	done
}

# make_cluster builds a cluster from nothing. The file "made" is written last: without it the next up starts over.
make_cluster() {
	local root=$1 name=$2 dir=$1/$2 port=$3 fsid osd_uuid
	rm -rf "$dir"
	mkdir -p "$dir"/{run,log,crash,mon,osd,mgr/modules}
	fsid=$(cat /proc/sys/kernel/random/uuid)
	osd_uuid=$(cat /proc/sys/kernel/random/uuid)
	echo "$port" >"$dir/port"
	write_conf "$dir" "$fsid" "$port"
	write_keys "$dir"
	timeout -k 5 60 monmaptool --create --addv a "[v2:127.0.0.1:$port]" --fsid "$fsid" "$dir/monmap" >/dev/null
	timeout -k 5 120 ceph-mon --mkfs -c "$dir/ceph.conf" -i a --monmap "$dir/monmap" --keyring "$dir/mon.keyring" >>"$dir/log/mon.out" 2>&1
	start_mon "$dir"
	cp "$dir/osd.0.keyring" "$dir/osd/keyring"
	timeout -k 5 120 ceph-osd --mkfs -c "$dir/ceph.conf" -i 0 --osd-uuid "$osd_uuid" --monmap "$dir/monmap" >>"$dir/log/osd.out" 2>&1
	ceph_in "$root" "$name" osd new "$osd_uuid" 0 >/dev/null 2>>"$dir/log/lab.out"
	start_osd "$dir"
	ceph_in "$root" "$name" osd pool create "$pool" 8 8 >/dev/null 2>>"$dir/log/lab.out"
	ceph_in "$root" "$name" osd pool application enable "$pool" rbd >/dev/null 2>>"$dir/log/lab.out"
	if [[ $with_mgr == 1 ]]; then
		# The mgr runs without its Python modules, which it counts as failed.
		ceph_in "$root" "$name" health mute MGR_MODULE_ERROR --sticky >/dev/null 2>>"$dir/log/lab.out"
	fi
	touch "$dir/made"
}

# up_one runs in a process of its own: whatever fails in it stops the cluster again. The trap outlives the function, so
# what it needs is not local.
up_one() {
	local root=$1 name=$2 dir=$1/$2 port=$3 began=$SECONDS
	starting_root=$1 starting_name=$2
	trap 'give_up "$starting_root" "$starting_name"' EXIT
	if [[ -e $dir/made ]]; then
		daemon_alive "$dir" mon || start_mon "$dir"
		daemon_alive "$dir" osd || restart_osd "$root" "$name"
	else
		stop_one "$root" "$name"
		make_cluster "$root" "$name" "$port"
	fi
	if [[ $with_mgr == 1 ]] && ! daemon_alive "$dir" mgr; then
		start_mgr "$dir"
	fi
	await_pool "$dir"
	trap - EXIT
	printf '%s: up (%d s), %s\n' "$name" $((SECONDS - began)) "$dir/ceph.conf"
}

give_up() {
	printf 'ceph.sh: %s did not start\n' "$2" >&2
	last_words "$1/$2"
	stop_one "$1" "$2"
}

is_up() {
	daemon_alive "$1" mon && daemon_alive "$1" osd && { [[ $with_mgr != 1 ]] || daemon_alive "$1" mgr; } && pool_answers "$1" 5
}

stop_one() {
	local dir=$1/$2 kind
	for kind in osd mgr mon; do
		process_stop "$dir/run/$kind.pid" "ceph-$kind" "$dir/ceph.conf" 10
	done
}

up() {
	local root=$1 name failed=0 pid i
	shift
	local -a names=("$@") todo=() ports=() pids=()
	((${#names[@]})) || names=(central dcn0 dcn1)
	for name in "${names[@]}"; do
		if is_up "$root/$name"; then
			printf '%s: already up, %s\n' "$name" "$root/$name/ceph.conf"
		else
			todo+=("$name")
		fi
	done
	((${#todo[@]})) || return 0
	mapfile -t ports < <(pick_ports "$root" "${#todo[@]}")
	((${#ports[@]} == ${#todo[@]})) || exit 1
	for i in "${!todo[@]}"; do
		up_one "$root" "${todo[i]}" "${ports[i]}" &
		pids+=($!)
	done
	for pid in "${pids[@]}"; do
		wait "$pid" || failed=1
	done
	((failed == 0)) || fail 'a cluster did not start; its last log lines are above'
}

down() {
	local root=$1 name
	shift
	for name in "$@"; do
		[[ -d $root/$name ]] || continue
		stop_one "$root" "$name"
		rm -rf "${root:?}/$name"
		printf '%s: gone\n' "$name"
	done
	rm -f "$root/.lock"
	rmdir --ignore-fail-on-non-empty "$root"
}

status() {
	local root=$1 name kind dir code=0
	shift
	for name in "$@"; do
		dir=$root/$name
		printf '%-10s' "$name"
		for kind in mon osd mgr; do
			if daemon_alive "$dir" "$kind"; then
				printf ' %s=%s' "$kind" "$(<"$dir/run/$kind.pid")"
			else
				printf ' %s=-' "$kind"
			fi
		done
		if pool_answers "$dir" 5; then
			printf ' pool answers'
		else
			printf ' pool does not answer'
			code=1
		fi
		printf ', %s on disk\n' "$(du -sh "$dir" 2>/dev/null | cut -f1)"
	done
	return "$code"
}

# clusters_in prints the clusters that DIR holds.
clusters_in() {
	local conf
	for conf in "$1"/*/ceph.conf; do
		[[ -e $conf ]] && basename "$(dirname "$conf")"
	done
	return 0
}

osd_signal() {
	local root=$1 name=$2 signal=$3
	process_signal "$root/$name/run/osd.pid" ceph-osd "$root/$name/ceph.conf" "$signal" || fail "the OSD of $name does not run"
}

osd_start() {
	local root=$1 name=$2 dir=$1/$2
	[[ -e $dir/made ]] || fail "there is no cluster $name"
	daemon_alive "$dir" osd || restart_osd "$root" "$name"
	await_pool "$dir" || fail "the OSD of $name did not come back; its last log lines are above"
}

# osd_resume also marks the OSD down once: one that was frozen for long keeps requests waiting until it peers again.
osd_resume() {
	local root=$1 name=$2
	osd_signal "$root" "$name" CONT
	ceph_in "$root" "$name" osd down 0 >/dev/null 2>>"$root/$name/log/lab.out"
	await_pool "$root/$name" || fail "the pool of $name does not answer"
}

# locked DIR COMMAND... lets one run at a time change the clusters of DIR.
locked() {
	local lock
	exec {lock}>"$1/.lock"
	flock -w 300 "$lock" || fail 'another run holds the clusters of this directory'
	shift
	"$@"
}

main() {
	local command=${1:-} root=${2:-}
	case $command in
	up | down | status) (($# >= 2)) || { usage >&2; exit 2; } ;;
	osd-stop | osd-kill | osd-pause | osd-resume | osd-start) (($# == 3)) || { usage >&2; exit 2; } ;;
	help | -h | --help) usage; exit 0 ;;
	*) usage >&2; exit 2 ;;
	esac
	shift 2
	local name
	for name in "$@"; do
		[[ $name =~ ^[a-z0-9][a-z0-9-]*$ ]] || fail "a cluster's name is lower case letters, digits and dashes, not \"$name\""
	done
	if [[ $command == up ]]; then
		mkdir -p "$root"
	elif [[ ! -d $root ]]; then
		[[ $command == down ]] && exit 0
		fail "no such directory: $root"
	fi
	root=$(cd "$root" && pwd)
	if (($# == 0)) && [[ $command != up ]]; then
		mapfile -t names < <(clusters_in "$root")
		set -- "${names[@]}"
	fi
	case $command in
	up) locked "$root" up "$root" "$@" ;;
	down) locked "$root" down "$root" "$@" ;;
	status) status "$root" "$@" ;;
	osd-stop) process_stop "$root/$1/run/osd.pid" ceph-osd "$root/$1/ceph.conf" 20 ;;
	osd-kill) osd_signal "$root" "$1" KILL ;;
	osd-pause) osd_signal "$root" "$1" STOP ;;
	osd-resume) osd_resume "$root" "$1" ;;
	osd-start) osd_start "$root" "$1" ;;
	esac
}

main "$@"
