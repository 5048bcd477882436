#!/usr/bin/env bash
# Boots a disk with qemu until the guest prints a line on its serial console.
set -euo pipefail

usage() {
	cat <<-'USAGE'
		usage: boot.sh DISK [LINE]

		Boots DISK (a raw file, a qcow2 file, or rbd:POOL/IMAGE:conf=FILE[:id=USER]) with an emulated PC and waits until
		LINE (default: ATOLL-GUEST-UP) is on the serial console. Prints the line. Exit code 1: it did not come in time.

		  BOOT_SECONDS=60   how long to wait
		  BOOT_MEMORY=64    memory of the guest in MiB
		  BOOT_LOG=FILE     where to keep the console's output
	USAGE
}

# stop_guest ends qemu in order, so that it closes its disk: RBD takes half a minute to forget a client that just vanished.
stop_guest() {
	local tries
	if [[ -n $guest ]]; then
		kill -TERM "$guest" 2>/dev/null || true
		for ((tries = 0; tries < 50; tries++)); do
			kill -0 "$guest" 2>/dev/null || break
			sleep 0.1
		done
		kill -KILL "$guest" 2>/dev/null || true
		wait "$guest" 2>/dev/null || true
	fi
	[[ -z $scratch ]] || rm -rf "$scratch"
}

# text shows a console's output without terminal control.
text() {
	LC_ALL=C tr -d '\r' <"$1" | LC_ALL=C sed -e 's/\x1b\[[0-9;?]*[A-Za-z]//g' | LC_ALL=C tr -cd '\n\t -~'
}

main() {
	if (($# < 1 || $# > 2)) || [[ $1 == -* ]]; then
		usage >&2
		exit 2
	fi
	local disk=$1 line=${2:-ATOLL-GUEST-UP} seconds=${BOOT_SECONDS:-60} log=${BOOT_LOG:-} format=raw deadline
	if ! command -v qemu-system-x86_64 >/dev/null; then
		echo 'boot.sh: qemu-system-x86_64 is missing (package qemu-system-x86)' >&2
		exit 3
	fi
	guest='' scratch=''
	trap stop_guest EXIT
	if [[ -z $log ]]; then
		scratch=$(mktemp -d)
		log=$scratch/console.log
	fi
	if [[ $disk != rbd:* && $(head -c 3 "$disk" | tr -d '\0') == QFI ]]; then
		format=qcow2
	fi
	: >"$log"
	qemu-system-x86_64 -nodefaults -no-user-config -machine pc,accel=tcg -m "${BOOT_MEMORY:-64}" -display none -no-reboot -net none \
		-serial "file:$log" -drive "file=$disk,format=$format,if=virtio,cache=writeback" \
		</dev/null >"$log.qemu" 2>&1 &
	guest=$!
	deadline=$((SECONDS + seconds))
	until text "$log" | grep -F -m 1 -- "$line"; do
		if ((SECONDS >= deadline)) || ! kill -0 "$guest" 2>/dev/null; then
			# The guest may have ended just after its last words.
			if text "$log" | grep -F -m 1 -- "$line"; then break; fi
			printf 'boot.sh: "%s" did not come within %d s; the console and qemu said:\n' "$line" "$seconds" >&2
			text "$log" | tail -n 20 >&2
			tail -n 20 "$log.qemu" >&2
			exit 1
		fi
		sleep 0.1
	done
}

main "$@"
