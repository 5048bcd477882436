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

# peak_memory PID prints the largest resident size of a process so far, in MiB.
peak_memory() { awk '/^VmHWM:/ { printf "%d\n", $2 / 1024 }' "/proc/$1/status"; }

# now prints the time in seconds with fractions.
now() { printf '%s\n' "$EPOCHREALTIME"; }

# minus A B prints A - B.
minus() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f\n", a - b }'; }

# machine prints what the figures were measured on.
machine() {
	printf '%d cores, %s, kernel %s, %s. ' "$(nproc)" "$(awk -F ': ' '/model name/ { print $2; exit }' /proc/cpuinfo)" \
		"$(uname -r)" "$(ceph --version | cut -d' ' -f1-3)"
}

# median and worst print one of the numbers that come in, one a line.
median() { sort -n | awk '{ v[NR] = $1 } END { if (NR) print v[int((NR + 1) / 2)] }'; }
worst() { sort -n | tail -n 1; }

# column FILE KEY N prints the N-th column of the lines that begin with KEY.
column() { awk -F '\t' -v key="$2" -v n="$3" '$1 == key { print $n }' "$1"; }
