#!/usr/bin/env bash
# Builds a Debian cloud image: a GPT with GRUB for PCs and one ext4 file system, a cloud kernel, systemd, and a login
# prompt on the first serial console. Packages come from Debian; no loop device is needed.
set -euo pipefail

release=bookworm
size_mb=2048
packages=linux-image-cloud-amd64,initramfs-tools,systemd-sysv,udev,dbus
root_sector=4096 # where the file system begins; GRUB's core is before it, at sector 2048

usage() {
	cat <<-'USAGE'
		usage: debian.sh DIR

		Makes DIR/debian-KEY.qcow2 (compressed, zlib) unless it is there, and prints its path. KEY changes with this script,
		so DIR may be kept between runs.
	USAGE
}

# install_system DIR puts Debian into a directory. Nothing in it is worth a sync: when this fails, it starts over.
install_system() {
	# shellcheck disable=SC2016 # the hook's shell expands it
	mmdebstrap --quiet --variant=minbase --include="$packages" --dpkgopt=force-unsafe-io \
		--dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
		--aptopt='Acquire::Retries "3"' --essential-hook='mkdir -p "$1/etc/initramfs-tools/conf.d"
			printf "MODULES=list\nCOMPRESS=lz4\nFSTYPE=ext4\n" >"$1/etc/initramfs-tools/conf.d/cloud"
			printf "virtio_pci\nvirtio_blk\next4\n" >"$1/etc/initramfs-tools/modules"' \
		"$release" "$1"
	echo atoll-guest >"$1/etc/hostname"
	echo 'LABEL=cloudimg-root / ext4 defaults 0 1' >"$1/etc/fstab"
	rm -f "$1/etc/machine-id" "$1/etc/resolv.conf"
	touch "$1/etc/machine-id"
}

# le64 NUMBER prints a number as GRUB keeps it on disk: 8 bytes, the lowest first.
le64() {
	local n=$1 i
	for ((i = 0; i < 8; i++)); do
		# shellcheck disable=SC2059 # the format is the byte
		printf "\\x$(printf '%02x' $((n >> (8 * i) & 255)))"
	done
}

# put FILE OFFSET writes standard input into a file at an offset in bytes.
put() { dd of="$1" bs=4096 oflag=seek_bytes seek="$2" conv=notrunc status=none; }

# make_disk SYSTEM DISK builds the raw disk.
make_disk() {
	local disk=$2 grub=/usr/lib/grub/i386-pc
	cat >"$work/early.cfg" <<-'CFG'
		serial --unit=0 --speed=115200
		terminal_output serial
		set root=(hd0,gpt2)
		linux /vmlinuz root=LABEL=cloudimg-root ro console=ttyS0 quiet
		initrd /initrd.img
		boot
	CFG
	grub-mkimage --format i386-pc --prefix '(hd0,gpt2)/boot/grub' --config "$work/early.cfg" --output "$work/core.img" \
		biosdisk part_gpt ext2 serial terminal normal linux
	truncate -s "${size_mb}M" "$disk"
	printf 'label: gpt\nstart=2048, size=2048, type=%s\nstart=%d, type=%s\n' 21686148-6449-6E6F-744E-656564454649 \
		"$root_sector" 0FC63DAF-8483-4772-8E79-3D69D8477DE4 | sfdisk --quiet "$disk"
	# The boot sector names the sector of GRUB's core, and that names the one behind itself.
	head -c 440 "$grub/boot.img" | put "$disk" 0
	le64 2048 | put "$disk" 92
	put "$disk" $((2048 * 512)) <"$work/core.img"
	le64 2049 | put "$disk" $((2048 * 512 + 500))
	mke2fs -q -F -t ext4 -b 4096 -L cloudimg-root -E "offset=$((root_sector * 512)),lazy_itable_init=1,lazy_journal_init=1" \
		-d "$1" "$disk" $(((size_mb - 3) * 256))
}

main() {
	if (($# != 1)) || [[ $1 == -* ]]; then
		usage >&2
		exit 2
	fi
	PATH=$PATH:/usr/sbin:/sbin
	local out
	mkdir -p "$1"
	out=$1/debian-$(sha256sum "${BASH_SOURCE[0]}" | head -c 16).qcow2
	exec {lock}>"$1/debian.lock" # one at a time
	flock "$lock"
	if [[ ! -e $out ]]; then
		work=$(mktemp -d "$1/debian.XXXXXX")
		trap 'rm -rf "$work"' EXIT
		chmod 0755 "$work"
		install_system "$work/system" >&2 {lock}>&-
		make_disk "$work/system" "$work/disk.raw"
		qemu-img convert -c -O qcow2 "$work/disk.raw" "$work/disk.qcow2"
		rm -f "$1"/debian-*.qcow2 # of older recipes
		mv "$work/disk.qcow2" "$out"
	fi
	printf '%s\n' "$out"
}

main "$@"
