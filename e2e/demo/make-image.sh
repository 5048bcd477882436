#!/usr/bin/env bash
# Builds a bootable raw disk image out of files of this machine, without mounts, loop devices or root: an MBR with GRUB
# and one ext4 partition. When it boots, GRUB prints a line on the serial console that it reads from the partition, so
# the line proves that the data behind the boot sector is there too.
set -euo pipefail

usage() {
	cat <<-'USAGE'
		usage: make-image.sh OUT [SIZE_MB]
		       make-image.sh --relabel OUT LABEL

		Writes a sparse raw disk image of SIZE_MB MiB (default 2048, at least 256). With --relabel an image that was made
		before becomes another one: its guest says LABEL from now on.

		  GUEST_LABEL=text     what the guest's line says after "ATOLL-GUEST-UP" (default: "from a disk image")
		  GUEST_DATA_MB=400    how many MiB of files to take at most; a third of SIZE_MB is the limit for small images
		  GUEST_DATA_FROM=/usr where the files come from
	USAGE
}

fail() {
	printf 'make-image.sh: %s\n' "$*" >&2
	exit 1
}

# copy_files DIR LIMIT TO copies the first readable files of DIR, in the order of their names, LIMIT bytes at most.
# Big files are left out, so that the copy holds many kinds.
copy_files() {
	local from=$1 limit=$2 to=$3
	(
		cd "$from"
		find . -xdev -type f -readable -size -32M -not -name '*[[:cntrl:]]*' -printf '%s %p\n' |
			LC_ALL=C sort -k 2 |
			awk -v limit="$limit" '{
				size = $1
				if (total + size > limit) next
				total += size
				print substr($0, length($1) + 2)
			}' |
			tar --create --file - --no-recursion --verbatim-files-from --files-from -
	) | tar --extract --file - --directory "$to" --no-same-owner
}

relabel() {
	local out=$1 label=$2
	work=$(mktemp -d "$out.XXXXXX")
	trap 'rm -rf "$work"' EXIT
	printf 'ATOLL-GUEST-UP %s\n' "$label" >"$work/line"
	printf 'rm /boot/atoll-guest.txt\nwrite "%s" /boot/atoll-guest.txt\n' "$work/line" |
		debugfs -w -f /dev/stdin "$out?offset=$((2048 * 512))" >/dev/null 2>&1
	printf '%s prints "ATOLL-GUEST-UP %s" now\n' "$out" "$label"
}

main() {
	PATH=$PATH:/usr/sbin:/sbin
	if (($# == 3)) && [[ $1 == --relabel ]]; then
		relabel "$2" "$3"
		return
	fi
	if (($# < 1 || $# > 2)) || [[ $1 == -* ]]; then
		usage >&2
		exit 2
	fi
	local out=$1 size_mb=${2:-2048}
	local label=${GUEST_LABEL:-from a disk image} data_mb=${GUEST_DATA_MB:-400} from=${GUEST_DATA_FROM:-/usr}
	local grub=/usr/lib/grub/i386-pc
	[[ $size_mb =~ ^[0-9]+$ ]] || fail "SIZE_MB is a number, not \"$size_mb\""
	((size_mb >= 256)) || fail "SIZE_MB is at least 256, not $size_mb"
	[[ $data_mb =~ ^[0-9]+$ ]] || fail "GUEST_DATA_MB is a number, not \"$data_mb\""
	((data_mb <= size_mb / 3)) || data_mb=$((size_mb / 3))
	[[ -e $grub/boot.img ]] || fail 'GRUB for PCs is missing (package grub-pc-bin)'

	work=$(mktemp -d "$out.XXXXXX")
	trap 'rm -rf "$work"' EXIT
	local disk=$work/disk root=$work/root
	mkdir -p "$root/boot/grub" "$root/usr"
	printf 'ATOLL-GUEST-UP %s\n' "$label" >"$root/boot/atoll-guest.txt"
	cat >"$root/boot/grub/grub.cfg" <<-'CFG'
		cat /boot/atoll-guest.txt
		sleep 1
		halt
	CFG
	copy_files "$from" $((data_mb * 1024 * 1024)) "$root/usr"

	cat >"$work/early.cfg" <<-'CFG'
		serial --unit=0 --speed=115200
		terminal_output serial
		set root=(hd0,msdos1)
		set prefix=(hd0,msdos1)/boot/grub
	CFG
	grub-mkimage --format i386-pc --prefix '(hd0,msdos1)/boot/grub' --config "$work/early.cfg" --output "$work/core.img" \
		biosdisk part_msdos ext2 serial terminal normal cat sleep halt
	local gap=$((2047 * 512))
	(($(stat -c %s "$work/core.img") <= gap)) || fail 'the GRUB core does not fit before the partition'

	truncate -s "${size_mb}M" "$disk"
	printf 'label: dos\nlabel-id: 0xa7011000\nstart=2048, type=83, bootable\n' | sfdisk --quiet "$disk"
	dd if="$grub/boot.img" of="$disk" bs=440 count=1 conv=notrunc status=none
	dd if="$work/core.img" of="$disk" bs=512 seek=1 conv=notrunc status=none
	# Only features that every GRUB 2 reads, whatever this system's defaults are.
	printf '[fs_types]\next4 = {\ninode_size = 256\n}\nsmall = {\ninode_ratio = 16384\n}\n' >"$work/mke2fs.conf"
	MKE2FS_CONFIG=$work/mke2fs.conf mke2fs -q -F -t ext4 -b 4096 -I 256 -L atoll-guest -U a7011000-0000-4000-8000-000000000001 \
		-O has_journal,extent,filetype,dir_index,sparse_super,large_file,huge_file,flex_bg,64bit,dir_nlink,extra_isize \
		-E "offset=$((2048 * 512)),lazy_itable_init=1,lazy_journal_init=1" -d "$root" "$disk" $(((size_mb - 1) * 256))
	mv "$disk" "$out"
	printf '%s: %d MiB, %d MiB of data in %d files, prints "ATOLL-GUEST-UP %s"\n' "$out" "$size_mb" \
		$(($(du -k "$out" | cut -f1) / 1024)) "$(find "$root" -type f | wc -l)" "$label"
}

main "$@"
