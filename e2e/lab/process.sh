# Daemons by pid file, for the scripts that source this. A process is ours when its command line has the words we
# started it with: a pid file whose process ended long ago may hold the number of a stranger by now.
# shellcheck shell=bash

# process_start PIDFILE LOGFILE COMMAND... starts a daemon that survives the caller; its output is appended to LOGFILE.
# It inherits no descriptor: not the caller's lock, nor a pipe whose reader waits for its end.
process_start() {
	local pidfile=$1 logfile=$2 fd
	shift 2
	(
		for fd in /proc/self/fd/*; do
			fd=${fd##*/}
			if ((fd > 2 && fd < 255)); then exec {fd}>&-; fi
		done
		setsid "$@" </dev/null >>"$logfile" 2>&1 &
		echo $! >"$pidfile"
	)
}

# process_alive PIDFILE WORD... says whether the process runs and its command line has every WORD.
process_alive() {
	local pid line word
	[[ -s $1 ]] || return 1
	pid=$(<"$1")
	[[ $pid =~ ^[0-9]+$ && -r /proc/$pid/cmdline ]] || return 1
	line=$(tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline") || return 1
	shift
	for word in "$@"; do
		[[ $line == *"$word"* ]] || return 1
	done
}

# process_signal PIDFILE WORD... SIGNAL sends SIGNAL; it fails when the process is not there.
process_signal() {
	local signal=${!#}
	process_alive "${@:1:$#-1}" || return 1
	kill -s "$signal" "$(<"$1")"
}

# process_stop PIDFILE WORD... SECONDS asks the process to end and kills it when it has not done so in time.
# It returns when the process is gone, and removes the pid file.
process_stop() {
	local seconds=${!#} pidfile=$1 deadline
	local -a who=("${@:1:$#-1}")
	deadline=$((SECONDS + seconds))
	if process_alive "${who[@]}"; then
		kill -s TERM "$(<"$pidfile")" 2>/dev/null || true
		kill -s CONT "$(<"$pidfile")" 2>/dev/null || true
	fi
	while process_alive "${who[@]}"; do
		if ((SECONDS >= deadline)); then
			kill -s KILL "$(<"$pidfile")" 2>/dev/null || true
		fi
		sleep 0.1
	done
	rm -f "$pidfile"
}
