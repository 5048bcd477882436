# The ways to bring a qcow2 from a web server into the pools of all sites, for imports.sh. Each is called as import_TOOL URL
# and leaves a raw image with a protected snapshot "snap" at every site.
# shellcheck shell=bash disable=SC2154,SC2034 # imports.sh sets what is not set here

# Atoll: the hub reads the URL once, and all sites fill while it does.
import_atoll() {
	source_image=$(</proc/sys/kernel/random/uuid)
	ctl image import "$1" --id "$source_image" --name bench --disk-format qcow2 --all-stores --all-must-succeed
}

# What a runbook says: download, convert, import at one site after the other.
import_sequential() {
	local site
	curl -sSf -o "$scratch/disk.qcow2" "$1"
	qemu-img convert -f qcow2 -O raw "$scratch/disk.qcow2" "$scratch/disk.raw"
	for site in "${everywhere[@]}"; do
		r "$site" import --no-progress "$scratch/disk.raw" "images/$target"
		publish "$site"
	done
}

# convert_to SITE writes the downloaded file straight into a pool.
convert_to() {
	r "$1" create --size "$((gib * 5))G" "images/$target"
	qemu-img convert -m 16 -W -n --target-is-zero -f qcow2 -O raw "$scratch/disk.qcow2" "rbd:images/$target:conf=$lab/$1/ceph.conf"
	publish "$1"
}

# The best we could write: no raw file, every site converts for itself, all at the same time.
import_parallel() {
	curl -sSf -o "$scratch/disk.qcow2" "$1"
	at_once convert_to "${everywhere[@]}"
}

# chain_to SITE copies what central has.
chain_to() {
	r "$1" create --size "$((gib * 5))G" "images/$target"
	r central export-diff --no-progress --whole-object "images/$target@snap" - | r "$1" import-diff --no-progress - "images/$target"
	publish "$1"
}

# The same with one conversion, to central; the sites copy from there.
import_chained() {
	curl -sSf -o "$scratch/disk.qcow2" "$1"
	convert_to central
	at_once chain_to "${sites[@]}"
}

# kind_of TOOL prints who removes what a tool has made.
kind_of() { if [[ $1 == atoll* ]]; then echo atoll; else echo rivals; fi; }

# import_name TOOL prints what a tool has called the image.
import_name() { if [[ $1 == atoll* ]]; then echo "$source_image"; else echo "$target"; fi; }

wipe_atoll() {
	ctl image delete "$source_image" >&2
	until_true 120 atoll_staging_empty
}

wipe_rivals() { wipe "${everywhere[@]}"; }

# atoll_forget_peak NAME makes the kernel forget how much memory a process has held.
atoll_forget_peak() { echo 5 >"/proc/$(atoll_pid "$1")/clear_refs"; }
