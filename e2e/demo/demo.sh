#!/usr/bin/env bash
# The story of one image: into the central store, to two edge sites under the same UUID, started there copy-on-write.
# Everything it starts goes on running; down.sh stops it. All state is in .demo/.
set -eEuo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=e2e/demo/layout.sh
. "$here/layout.sh"
# shellcheck source=e2e/demo/story.sh
. "$here/story.sh"

usage() {
	cat <<-'USAGE'
		usage: demo.sh

		  STORE=ceph        three real Ceph clusters (needs root and apt-get the first time)
		  STORE=file        the same story on sparse files, without root
		  IMAGE_MB=2048     size of the disk image
		  DEMO_DIR=.demo    where everything is kept
		  DEMO_PORT=9393    first of the hub's five ports
	USAGE
}

main() {
	if (($# > 0)); then
		usage
		exit 2
	fi
	[[ $store_kind == ceph || $store_kind == file ]] || { usage >&2; exit 2; }
	PATH=$PATH:/usr/sbin:/sbin:/usr/local/go/bin
	cd "$repo"
	mkdir -p "$demo"/{log,run,agent,image}
	exec {demo_lock}>"$demo/.lock"
	flock -n "$demo_lock" || stop_here 'the demo is being run already' ''
	if [[ -e $demo/store && $(<"$demo/store") != "$store_kind" ]]; then
		stop_here "the demo in $(shown "$demo") runs with STORE=$(<"$demo/store"); stop it first: make demo-down" ''
	fi
	trap 'failed' ERR
	trap 'echo; echo "Interrupted; what was started goes on running. make demo-down stops it."; exit 130' INT TERM
	echo "$store_kind" >"$demo/store"
	number=$(($(cat "$demo/count" 2>/dev/null || echo 0) + 1))
	name=demo-$number

	step 'Debian packages' packages
	step 'Build atoll-hub, atoll-agent and atollctl' build
	if [[ $store_kind == ceph ]]; then
		step 'Three Ceph clusters: central, dcn0 and dcn1' clusters
	fi
	step 'The hub, with its records in an embedded etcd' hub
	step 'An agent at every site, each with a certificate of its own' agents
	step 'A disk image' disk_image
	echo "$number" >"$demo/count"
	step 'Import it to the central store' import_image
	step 'Copy it to both edge sites at once' copy_image
	step 'One UUID, three locations' show_image
	step "Read it back from every store, without Atoll's code" compare
	step 'Start it at dcn0, copy-on-write' boot
	step 'Delete the copy at dcn1' delete_copy
	step 'The same through the Image API, with the command of OpenStack' openstack_list
	what_next
}

main "$@"
