# The other ways to copy an image between clusters, for run.sh. Each leaves the image with a protected snapshot "snap".
# They are called as FUNCTION SITE... and use the clusters' admin.
# shellcheck shell=bash disable=SC2154 # run.sh sets what is not set here

# r SITE ARGS... runs the rbd command on a site's cluster.
r() {
	local site=$1
	shift
	rbd -c "$lab/$site/ceph.conf" "$@"
}

# new_image SITE makes the empty target image.
new_image() { r "$1" create --size "${image_bytes}B" "images/$target"; }

# publish SITE gives the target its protected snapshot.
publish() {
	r "$1" snap ls "images/$target" | grep -q ' snap ' || r "$1" snap create "images/$target@snap"
	r "$1" snap protect "images/$target@snap"
}

diff_one() {
	new_image "$1"
	r central export-diff --no-progress --whole-object "images/$source_image@snap" - | r "$1" import-diff --no-progress - "images/$target"
	publish "$1"
}

plain_one() {
	r central export --no-progress "images/$source_image@snap" - | r "$1" import --no-progress - "images/$target"
	publish "$1"
}

qemu_one() {
	new_image "$1"
	qemu-img convert -m 16 -W -n --target-is-zero -f raw -O raw \
		"rbd:images/$source_image@snap:conf=$lab/central/ceph.conf" "rbd:images/$target:conf=$lab/$1/ceph.conf"
	publish "$1"
}

# at_once FUNCTION SITE... runs a copy to every site at the same time.
at_once() {
	local copy=$1 site pid failed=0
	local -a pids=()
	shift
	for site in "$@"; do
		"$copy" "$site" &
		pids+=($!)
	done
	for pid in "${pids[@]}"; do
		wait "$pid" || failed=1
	done
	return "$failed"
}

diff_parallel() { at_once diff_one "$@"; }
plain_parallel() { at_once plain_one "$@"; }
qemu_parallel() { at_once qemu_one "$@"; }

diff_sequential() {
	local site
	for site in "$@"; do
		diff_one "$site"
	done
}

# wipe SITE... removes the target image everywhere.
wipe() {
	local site
	for site in "$@"; do
		r "$site" snap unprotect "images/$target@snap"
		r "$site" snap rm "images/$target@snap"
		r "$site" rm "images/$target"
	done >/dev/null 2>&1
}
