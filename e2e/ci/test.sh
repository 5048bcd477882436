#!/usr/bin/env bash
# Runs the tests: test.sh PART... with the parts unit, fuzz, conformance, scenarios and robustness.
# Output is that of `go test`. What cannot run on this machine is named; with CI=true that is a failure.
set -euo pipefail
cd "$(dirname "$0")/../.."

# Tests of the cgo driver and of the whole system find their clusters through these.
#   ATOLL_TEST_CEPH_CONF  ceph.conf of one cluster, admin key beside it, pool "images"
#   ATOLL_TEST_CEPH_DIR   directory with the clusters central, dcn0 and dcn1
#   ATOLL_TEST_KEYSTONE_DIR  what e2e/lab/keystone.sh has made
#   ATOLL_TEST_BIN        directory with the built programs
export ATOLL_TEST_BIN=$PWD/.build/bin

tags=$(make -s ceph-tags)
headers=no
[[ -e /usr/include/rbd/librbd.h ]] && headers=yes
lab=
keystone=
debian=
missing=()

# stop_programs ends what a test that was cut off has left running: whatever was told of the clusters of this run.
stop_programs() {
	local environ pid
	for environ in /proc/[0-9]*/environ; do
		grep -qzxF "ATOLL_TEST_CEPH_DIR=$lab" "$environ" 2>/dev/null || continue
		pid=${environ//[^0-9]/}
		[[ $pid == "$$" ]] || kill -9 "$pid" 2>/dev/null || true # it has ended by itself
	done
}

stop_lab() {
	local code=$?
	trap - EXIT INT TERM
	if [[ -n $debian ]]; then
		kill "$debian" 2>/dev/null || true # it has ended, or nobody needs it any more
		wait "$debian" 2>/dev/null || true
	fi
	if [[ -n $lab ]]; then
		stop_programs
		e2e/lab/ceph.sh down "$lab" >&2 || code=1
	fi
	if [[ -n $keystone ]]; then
		e2e/lab/keystone.sh down "$keystone" >&2 || code=1
	fi
	exit "$code"
}
trap stop_lab EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

note() { printf '== %s\n' "$*" >&2; }

# start_lab starts the three clusters once, in a directory of this run.
start_lab() {
	[[ -z $lab ]] || return 0
	mkdir -p .build/tmp
	lab=$(mktemp -d "$PWD/.build/tmp/lab.XXXXXX")
	e2e/lab/ceph.sh up "$lab" central dcn0 dcn1 >&2
	export ATOLL_TEST_CEPH_DIR=$lab
	export ATOLL_TEST_CEPH_CONF=$lab/central/ceph.conf
}

# start_keystone starts Keystone for the tests of the Image API, which need it and the clients of OpenStack.
start_keystone() {
	local need=() tool
	for tool in keystone-manage uwsgi_python3 curl jq glance openstack tempest; do
		command -v "$tool" >/dev/null || need+=("$tool")
	done
	if ((${#need[@]})); then
		missing+=("the Image API with real clients (needs ${need[*]})")
		return
	fi
	keystone=$(mktemp -d "$PWD/.build/tmp/keystone.XXXXXX")
	e2e/lab/keystone.sh up "$keystone" >&2
	export ATOLL_TEST_KEYSTONE_DIR=$keystone
}

# can_run PART says whether real Ceph tests can run here, and remembers that PART did not.
can_run() {
	local need=() tool
	[[ $headers == yes ]] || need+=(librbd-dev)
	for tool in ceph-mon ceph-osd rbd ceph-authtool; do
		command -v "$tool" >/dev/null || need+=("$tool")
	done
	((${#need[@]} == 0)) && return 0
	missing+=("$1 (needs ${need[*]})")
	return 1
}

# unit: everything that needs no other process. The race detector needs cgo; packages that link librbd are built
# without cgo where its headers are missing.
unit() {
	local all plain=() linked=() p
	mapfile -t all < <(go list ./... | grep -v -e '/e2e/scenarios' -e '/e2e/robustness')
	if ! command -v gcc >/dev/null; then
		missing+=('race detector (needs gcc)')
		CGO_ENABLED=0 go test -timeout 20m "${all[@]}"
		return
	fi
	if [[ $headers == yes ]]; then
		note "unit tests, race detector on"
		CGO_ENABLED=1 go test -race -tags "$tags" -timeout 20m "${all[@]}"
		return
	fi
	for p in "${all[@]}"; do
		if CGO_ENABLED=1 go list -deps "$p" | grep -q '^github.com/ceph/go-ceph/'; then linked+=("$p"); else plain+=("$p"); fi
	done
	note "unit tests, race detector on, without the ceph driver"
	missing+=('tests of the ceph driver (need librbd-dev)')
	CGO_ENABLED=1 go test -race -timeout 20m "${plain[@]}"
	((${#linked[@]} == 0)) || CGO_ENABLED=0 go test -timeout 20m "${linked[@]}"
}

# fuzz: a short run of every fuzz target.
fuzz() {
	note "fuzzing"
	e2e/ci/fuzz.sh
}

# conformance: the suite of package rbdtest against a real pool.
conformance() {
	can_run 'conformance on real Ceph' || return 0
	start_lab
	note "conformance of the ceph driver on a real cluster"
	CGO_ENABLED=1 go test -race -tags "$tags" -count=1 -timeout 20m ./agent/internal/rbd/cephrbd/...
	note "the Image API of a site and fills of copies on a real cluster"
	CGO_ENABLED=1 go test -race -tags "$tags" -count=1 -p 1 -timeout 10m -run OnCeph ./agent/internal/edge ./agent/internal/replica
}

# scenarios: hub, agents and atollctl as processes on three real clusters.
scenarios() {
	can_run 'scenarios on real Ceph' || return 0
	if [[ $(id -u) == 0 ]] && command -v mmdebstrap >/dev/null; then
		mkdir -p .build/cache
		nice e2e/lab/debian.sh .build/cache >/dev/null 2>&1 & # the test that needs it says what is wrong with it
		debian=$!
	fi
	start_lab
	start_keystone
	if [[ -n $keystone ]]; then
		note "tokens against a real Keystone, rules against the real oslo.policy"
		go test -count=1 -run Real ./pkg/auth/keystone
		ATOLL_TEST_OSLO_POLICY=/usr/bin/python3 go test -count=1 -run Oslo ./pkg/policy
	fi
	note "scenarios on three real clusters"
	# Told as they begin and end, so that a run that is cut off says how far it came; the first failure ends it.
	CGO_ENABLED=1 go test -tags "$tags" -count=1 -timeout 40m -v -failfast ./e2e/scenarios/... | grep -v --line-buffered -E '^ *=== (PAUSE|CONT|NAME|RUN .*/)'
}

# robustness: what takes too long for every change.
robustness() {
	can_run 'robustness on real Ceph' || return 0
	start_lab
	start_keystone
	note "many clients for two minutes"
	ATOLL_LONG=1 go test -count=1 -timeout 15m -v -run TestStormOnImages ./e2e/scenarios
}

(($# > 0)) || { echo "usage: test.sh unit|fuzz|conformance|scenarios|robustness ..." >&2; exit 2; }
for part in "$@"; do
	case $part in
	unit | fuzz | conformance | scenarios | robustness) "$part" ;;
	*) echo "no such part: $part" >&2; exit 2 ;;
	esac
done
if ((${#missing[@]})); then
	printf 'not run: %s\n' "${missing[@]}" >&2
	[[ ${CI:-} != true ]] || exit 1
fi
