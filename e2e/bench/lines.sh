# Lines of limited rate between the hub and the sites, for the scripts that source this after stage.sh. They count what passes.
#
#   rate     bytes per second of each line, each way
#   delay    from one end of a line to the other
# shellcheck shell=bash disable=SC2154 # who sources this sets rate and delay

link=$lab/bench-link

# line_port SITE prints the first of the two ports of a site's line: for the control link and for frames.
line_port() { printf '%d\n' $((atoll_port + 10 + 2 * ${1#dcn})); }

# atoll_gate SITE is the one of atoll.sh for sites behind lines.
atoll_gate() {
	if [[ $1 == central ]]; then printf '%d\n' $((atoll_port + 1)); else line_port "$1"; fi
}

lines_start() {
	local site port
	CGO_ENABLED=0 go build -o "$link" ./e2e/bench/link
	for site in "$@"; do
		port=$(line_port "$site")
		process_start "$lab/line.$site.pid" "$lab/lines.log" "$link" --rate "$rate" --delay "$delay" --bytes "$lab/line.$site" \
			"127.0.0.1:$port=127.0.0.1:$((atoll_port + 1))" "127.0.0.1:$((port + 1))=127.0.0.1:$((atoll_port + 2))"
	done
}

lines_stop() {
	local pidfile
	for pidfile in "$lab"/line.*.pid; do
		process_stop "$pidfile" "$link" 5
	done
}
endings+=(lines_stop)

# through_line NAME passes standard input on to standard output, as slowly as a line does.
through_line() { "$link" --rate "$rate" --delay "$delay" --bytes "$lab/pipe.$1"; }

# line_bytes KIND NAME... prints what has come to sites so far over their lines (line), or by their latest pipe (pipe).
line_bytes() {
	local kind=$1 name
	shift
	sleep 0.2 # the lines write their figures down twenty times a second
	for name in "$@"; do
		cat "$lab/$kind.$name"
	done | awk '{ n += $1 } END { printf "%.0f\n", n }'
}
