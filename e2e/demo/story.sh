# The steps of the demo, in the order in which demo.sh tells them.
# shellcheck shell=bash
# shellcheck disable=SC2154 # layout.sh and demo.sh set what is used here

began=$SECONDS
steps=0
heading=
step_log=

# step HEADING FUNCTION runs one step and says how long it took. step_log is the log to show should it fail.
step() {
	local start=$SECONDS
	steps=$((steps + 1)) heading=$1 step_log=''
	printf '\n== %d. %s\n' "$steps" "$heading"
	"$2"
	printf '   (%d s)\n' $((SECONDS - start))
}

# failed ends the demo after an error: it shows the last lines of the log at hand.
failed() {
	trap - ERR
	if ((BASH_SUBSHELL > 0)); then exit 1; fi
	stop_here "step $steps failed: $heading" "$step_log"
}

stop_here() {
	trap - ERR
	printf '\nThe demo has stopped: %s\n' "$1" >&2
	if [[ -n $2 && -s $2 ]]; then
		printf 'The last lines of %s:\n' "$(shown "$2")" >&2
		tail -n 15 "$2" | sed 's/^/  | /' >&2
	fi
	printf 'Logs are in %s. What was started goes on running; make demo-down stops it.\n' "$(shown "$demo/log")" >&2
	exit 1
}

# say prints a command of atollctl as a reader would type it, then runs it.
say() {
	printf '   $ atollctl %s\n' "$*"
	ctl "$@"
}

# follow is say for what shows its progress, without the result.
follow() {
	printf '   $ atollctl %s\n' "$*"
	ctl "$@" >/dev/null
}

indent() { sed 's/^/   /'; }

packages() {
	local needs=(build ceph boot) code=0
	if ! have go; then
		stop_here "Go $(sed -n 's/^go //p' "$repo/go.mod") or newer is needed to build; get it from https://go.dev/dl" ''
	fi
	if [[ $store_kind == file ]]; then
		echo '   none are needed for sparse files'
		return
	fi
	step_log=$demo/log/packages.log
	"$repo/e2e/lab/packages.sh" "${needs[@]}" 2>&1 {demo_lock}>&- | tee "$step_log" | indent || code=$?
	if ((code == 3)); then
		printf '\n   Without them the same story can be told on sparse files:  make demo STORE=file\n'
		exit 3
	fi
	((code == 0))
}

build() {
	step_log=$demo/log/build.log
	make -C "$repo" build >"$step_log" 2>&1
	printf '   %s\n' "$("$bin/atollctl" version 2>/dev/null | head -n 1 || true)"
}

clusters() {
	step_log=$demo/log/ceph.log
	"$repo/e2e/lab/ceph.sh" up "$demo/ceph" "${sites[@]}" 2>&1 {demo_lock}>&- | tee "$step_log" | sed "s|$PWD/||" | indent
}

# called SERVICE prints what a reader calls it.
called() { if [[ $1 == hub ]]; then printf "the hub"; else printf "the agent of %s" "$1"; fi; }

# await SERVICE COMMAND... polls until COMMAND succeeds, for a minute at most and while the service runs.
await() {
	local service=$1 deadline=$((SECONDS + 60))
	shift
	until "$@" >/dev/null 2>&1; do
		service_runs "$service" || stop_here "$(called "$service") has ended" "$step_log"
		((SECONDS < deadline)) || stop_here "$(called "$service") does not answer" "$step_log"
		sleep 0.2
	done
}

hub() {
	step_log=$demo/log/hub.log
	local site
	for site in "${sites[@]}"; do service_stop "$site"; done
	service_stop hub
	: >"$step_log"
	hub_start
	await hub ctl --timeout 2s site list
	printf '   gRPC API on %s, Image API on %s, agents on %s\n' "$api" "$image_api" "$link"
}

store_healthy() { [[ $(ctl store show "$1" -o yaml) == *'healthy: true'* ]]; }

agents() {
	local site
	for site in "${sites[@]}"; do
		step_log=$demo/log/agent-$site.log
		: >"$step_log"
		agent_config "$site"
		agent_join "$site" | indent
		agent_start "$site"
	done
	for site in "${sites[@]}"; do
		step_log=$demo/log/agent-$site.log
		await "$site" store_healthy "$site"
	done
	say store list
}

# have COMMAND... says whether all commands are there.
have() {
	local command
	for command in "$@"; do command -v "$command" >/dev/null || return 1; done
}

# bootable says whether this machine has what it takes to build a disk that boots.
bootable() {
	[[ -e /usr/lib/grub/i386-pc/boot.img ]] && have grub-mkimage mke2fs debugfs sfdisk
}

disk_image() {
	step_log=$demo/log/image.log
	source_file=$demo/image/disk.raw
	guest_line="ATOLL-GUEST-UP $name, started from a copy-on-write clone"
	if bootable; then
		if [[ -e $source_file ]]; then
			"$repo/e2e/demo/make-image.sh" --relabel "$source_file" "${guest_line#* }" >"$step_log" 2>&1
		else
			GUEST_LABEL=${guest_line#* } "$repo/e2e/demo/make-image.sh" "$source_file" "${IMAGE_MB:-2048}" >"$step_log" 2>&1
		fi
		sed "s|$PWD/||" "$step_log" | indent
		return
	fi
	echo '   without the Debian packages grub-pc-bin, grub-common, e2fsprogs and fdisk the disk holds data, but does not boot'
	guest_line=
	{ tar -cf - -C /usr bin share 2>/dev/null || true; } | head -c 300M >"$source_file.new"
	printf '%-512s' "$name" | dd of="$source_file.new" conv=notrunc status=none
	truncate -s "${IMAGE_MB:-2048}M" "$source_file.new"
	mv "$source_file.new" "$source_file"
	printf '   %s: %s MiB\n' "$(shown "$source_file")" "${IMAGE_MB:-2048}"
}

# drop_old removes what earlier runs left at the edge and all their images but the last, so that the disk stays small.
drop_old() {
	local old vm
	if [[ $store_kind == ceph ]]; then
		while read -r vm; do
			[[ $vm == vm-demo-* ]] || continue
			rbd_at dcn0 rm --no-progress "images/$vm"
			printf '   removed the clone %s of an earlier run\n' "$vm"
		done < <(rbd_at dcn0 ls images)
	else
		for vm in "$demo"/files/vm-demo-*.qcow2; do
			[[ -e $vm ]] || continue
			rm -f "$vm" "$(<"$vm.child")" "$vm.child"
			printf '   removed the clone %s of an earlier run\n' "$(basename "$vm")"
		done
	fi
	for ((old = number - 2; old > 0; old--)); do
		ctl image show "demo-$old" >/dev/null 2>&1 || break
		ctl image delete "demo-$old" >/dev/null
		printf '   deleted the image demo-%d of an earlier run\n' "$old"
	done
}

import_image() {
	step_log=$demo/log/hub.log
	drop_old
	follow image import "$(shown "$source_file")" --name "$name" --stores central
	uuid=$(ctl image show "$name" -o yaml | sed -n 's/^id: *"\{0,1\}\([0-9a-f-]\{36\}\).*/\1/p')
	[[ -n $uuid ]]
	printf '   image %s\n' "$uuid"
}

copy_image() {
	step_log=$demo/log/hub.log
	follow image copy "$name" --stores dcn0,dcn1
}

show_image() {
	step_log=$demo/log/hub.log
	say image show "$name"
}

# sum_at STORE prints the SHA-256 of the image's snapshot, read with the store's own tools.
sum_at() {
	if [[ $store_kind == ceph ]]; then
		rbd_at "$1" export --no-progress "images/$uuid@snap" - | sha256sum | cut -d ' ' -f 1
	else
		sha256sum <"$demo/files/$1/$uuid/data" | cut -d ' ' -f 1
	fi
}

compare() {
	local site want got pid bad=0
	local -a pids=()
	if [[ $store_kind == ceph ]]; then
		printf '   $ rbd -c %s export images/%s@snap - | sha256sum\n' "$(shown "$demo/ceph")/STORE/ceph.conf" "$uuid"
	else
		printf '   $ sha256sum %s\n' "$(shown "$demo/files")/STORE/$uuid/data"
	fi
	for site in "${sites[@]}"; do
		sum_at "$site" >"$demo/run/sum-$site" &
		pids+=($!)
	done
	want=$(sha256sum <"$source_file" | cut -d ' ' -f 1)
	for pid in "${pids[@]}"; do wait "$pid"; done
	printf '   %s  the file\n' "$want"
	for site in "${sites[@]}"; do
		got=$(<"$demo/run/sum-$site")
		printf '   %s  %s\n' "$got" "$site"
		[[ $got == "$want" ]] || bad=1
	done
	((bad == 0)) || stop_here 'a store holds other bytes than the file' ''
}

boot() {
	local why='' vm=vm-$name
	step_log=$demo/log/guest.log
	if [[ -z $guest_line ]]; then
		why='the disk does not boot'
	elif ! have qemu-system-x86_64 qemu-img; then
		why='qemu is not installed (Debian packages qemu-system-x86 and qemu-utils)'
	fi
	if [[ -n $why ]]; then
		printf '   skipped: %s\n' "$why"
		return
	fi
	if [[ $store_kind == ceph ]]; then
		printf '   $ rbd clone images/%s@snap images/%s\n' "$uuid" "$vm"
		rbd_at dcn0 clone "images/$uuid@snap" "images/$vm"
		disk=rbd:images/$vm:conf=$(ceph_conf dcn0)
	else
		clone_file "$vm"
		disk=$demo/files/$vm.qcow2
	fi
	printf '   $ qemu-system-x86_64 -drive file=%s ...\n' "${disk/"$PWD/"/}"
	BOOT_LOG=$demo/log/guest.log "$repo/e2e/demo/boot.sh" "$disk" "$guest_line" {demo_lock}>&- | sed 's/^/   guest: /'
}

# clone_file NAME makes a qcow2 overlay on dcn0's copy. The file store is told first, so that the copy counts as in use.
clone_file() {
	local image base
	image=$(cd -P "$demo/files/dcn0/$uuid" && pwd)
	base=$image/data
	mkdir -p "$image/children"
	printf '%s\n' "$image/children/$1" >"$demo/files/$1.qcow2.child"
	: >"$image/children/$1"
	printf '   $ qemu-img create -f qcow2 -F raw -b %s %s\n' "${base/"$PWD/"/}" "$1.qcow2"
	qemu-img create -q -f qcow2 -F raw -b "$base" "$demo/files/$1.qcow2"
}

delete_copy() {
	local left
	step_log=$demo/log/hub.log
	follow replica delete "$name" dcn1
	if [[ $store_kind == ceph ]]; then
		left=$(rbd_at dcn1 ls images)
	else
		left=$(ls "$demo/files/dcn1")
	fi
	[[ $left != *"$uuid"* ]] || stop_here 'the copy is still at dcn1' "$step_log"
	printf '   gone from dcn1; still in: %s\n' "$(ctl image show "$name" -o yaml | sed -n '/^stores:/,/^[^- ]/s/^ *- *//p' | paste -sd ' ')"
}

openstack_list() {
	step_log=$demo/log/hub.log
	if ! have glance; then
		echo '   skipped: glance is not installed (Debian package python3-glanceclient)'
		return
	fi
	printf '   $ glance %s image-list --include-stores\n' "$glance_options"
	glance_cli image-list --include-stores | indent
}

what_next() {
	local a again='make demo            '
	a=$(shown "$bin/atollctl")
	[[ $store_kind == ceph ]] || again="make demo STORE=$store_kind"
	[[ $first_port == 9393 ]] || a="$a --hub $api"
	printf '\n== All done in %d s. Everything goes on running; try this next:\n\n' $((SECONDS - began))
	cat <<-NEXT
		   $a image list                          # the images and where they are
		   $a image copy $name --stores dcn1     # bring the copy at dcn1 back
		   $a replica delete $name dcn0          # refused while the clone of it is there
		   $a replica verify $name central       # compare the copy with its manifest again
		   $a operation list                      # what has been asked for so far
		   $a site list                           # the sites, their agents and certificates
		   $a image import FILE --name NAME --all-stores
		   glance $glance_options image-show $uuid
	NEXT
	if [[ $store_kind == ceph ]]; then
		cat <<-NEXT

			   rbd -c $(shown "$(ceph_conf dcn0)") ls -l images   # look at a cluster with Ceph's own tools
			   e2e/lab/ceph.sh status $(shown "$demo/ceph")            # the clusters' processes
		NEXT
	fi
	cat <<-NEXT

		   kill \$(cat $(shown "$demo/run/agent-dcn1.pid"))      # take the site dcn1 away: copies to it wait; make demo brings it back
		   $again  # again, with a new image
		   make demo-down         # stop it all and free the disk
		   logs: $(shown "$demo/log")
	NEXT
}
