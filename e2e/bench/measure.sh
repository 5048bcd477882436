# Counters for the benchmark, for the scripts that source this.
# shellcheck shell=bash disable=SC2154 # run.sh sets what is not set here

clock_ticks=$(getconf CLK_TCK)

# cpu_of PID... prints the CPU seconds (user and system) the processes have used so far.
cpu_of() {
	local pid line ticks=0
	local -a field
	for pid in "$@"; do
		line=$(<"/proc/$pid/stat")
		read -r -a field <<<"${line##*) }"
		ticks=$((ticks + field[11] + field[12]))
	done
	awk -v t="$ticks" -v hz="$clock_ticks" 'BEGIN { printf "%.2f\n", t / hz }'
}

# cpu_of_children prints the CPU seconds of all ended and awaited children of this shell.
cpu_of_children() {
	local line
	local -a field
	line=$(<"/proc/$$/stat")
	read -r -a field <<<"${line##*) }"
	awk -v t="$((field[13] + field[14]))" -v hz="$clock_ticks" 'BEGIN { printf "%.2f\n", t / hz }'
}

# osd_read_bytes SOCKET prints how many bytes an OSD has sent to clients so far.
osd_read_bytes() {
	timeout 30 ceph --admin-daemon "$1" perf dump |
		awk -F'[:,]' '/"op_r_out_bytes"/ { gsub(/ /, "", $2); n = $2 } END { print n }'
}

# peak_memory PID prints the largest resident size of a process so far, in MiB.
peak_memory() { awk '/^VmHWM:/ { printf "%d\n", $2 / 1024 }' "/proc/$1/status"; }

# now prints the time in seconds with fractions.
now() { printf '%s\n' "$EPOCHREALTIME"; }

# minus A B prints A - B.
minus() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f\n", a - b }'; }
