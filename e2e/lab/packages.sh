#!/usr/bin/env bash
# Installs the Debian packages that a part of the work needs, and says which.
set -euo pipefail

declare -A sets=(
	[build]='librbd-dev librados-dev gcc pkg-config make git ca-certificates e2fsprogs fdisk xfsprogs'
	[ceph]='ceph-mon ceph-osd ceph-mgr ceph-common'
	[boot]='qemu-system-x86 qemu-block-extra qemu-utils seabios grub-pc-bin grub-common e2fsprogs fdisk'
	[debian]='mmdebstrap'
	[keystone]='keystone uwsgi-core uwsgi-plugin-python3 curl jq'
	[tempest]='tempest python3-tempest glance-tempest-plugin'
	[clients]='python3-glanceclient python3-openstackclient'
	[tenant]='fio jq'
	[barbican]='barbican-api openssl python3-cursive'
)

usage() {
	cat <<-USAGE
		usage: packages.sh [--check] NEED...

		Prints which Debian packages are missing for the NEEDs (${!sets[*]}) and installs them with apt-get.
		Exit code 3: packages are missing and they cannot be installed here, or --check was given.
	USAGE
}

installed() {
	[[ $(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null) == installed ]]
}

# have says whether a package's job can be done: by the package, or on other systems by the commands that it brings.
have() {
	if command -v dpkg-query >/dev/null; then
		installed "$1"
		return
	fi
	case $1 in
	librbd-dev) [[ -e /usr/include/rbd/librbd.h ]] ;;
	librados-dev) [[ -e /usr/include/rados/librados.h ]] ;;
	pkg-config | gcc | make | git | ceph-mon | ceph-osd | ceph-mgr) command -v "$1" >/dev/null ;;
	ceph-common) command -v rbd >/dev/null ;;
	qemu-system-x86) command -v qemu-system-x86_64 >/dev/null ;;
	qemu-utils) command -v qemu-img >/dev/null ;;
	grub-pc-bin) [[ -e /usr/lib/grub/i386-pc/boot.img ]] ;;
	grub-common) command -v grub-mkimage >/dev/null ;;
	e2fsprogs) command -v mke2fs >/dev/null ;;
	fdisk) command -v sfdisk >/dev/null ;;
	xfsprogs) command -v mkfs.xfs >/dev/null ;;
	mmdebstrap) command -v mmdebstrap >/dev/null ;;
	keystone) command -v keystone-manage >/dev/null ;;
	barbican-api) command -v barbican-wsgi-api >/dev/null ;;
	python3-cursive) python3 -c 'import cursive' 2>/dev/null ;;
	uwsgi-core) command -v uwsgi >/dev/null ;;
	uwsgi-plugin-python3) command -v uwsgi_python3 >/dev/null ;;
	curl | jq | openssl | fio) command -v "$1" >/dev/null ;;
	python3-glanceclient) command -v glance >/dev/null ;;
	python3-openstackclient) command -v openstack >/dev/null ;;
	*) true ;;
	esac
}

main() {
	local check=0 need package
	local -a missing=()
	PATH=$PATH:/usr/sbin:/sbin
	if [[ ${1:-} == --check ]]; then
		check=1
		shift
	fi
	if (($# == 0)) || [[ $1 == -h || $1 == --help ]]; then
		usage
		exit 2
	fi
	for need in "$@"; do
		if [[ -z ${sets[$need]:-} ]]; then
			printf 'packages.sh: unknown need "%s", there are: %s\n' "$need" "${!sets[*]}" >&2
			exit 2
		fi
		for package in ${sets[$need]}; do
			have "$package" || missing+=("$package")
		done
	done
	if ((${#missing[@]} == 0)); then
		printf 'nothing is missing for: %s\n' "$*"
		return
	fi
	printf 'missing Debian packages: %s\n' "${missing[*]}"
	((check == 0)) || exit 3
	if [[ $(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then
		printf 'packages.sh: they can be installed only by root with apt-get; please install: %s\n' "${missing[*]}" >&2
		exit 3
	fi
	export DEBIAN_FRONTEND=noninteractive
	apt-get -qq -o Acquire::Retries=3 update
	apt-get -qq -y -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 -o Dpkg::Use-Pty=0 install --no-install-recommends "${missing[@]}" >/dev/null
	for package in keystone barbican-api; do
		if [[ " ${missing[*]} " == *" $package "* ]]; then
			systemctl disable --now "$package" >/dev/null 2>&1 || true # its package starts a server; the lab starts its own
		fi
	done
	printf 'installed: %s\n' "${missing[*]}"
}

main "$@"
