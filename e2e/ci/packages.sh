#!/usr/bin/env bash
# Installs the Debian packages that builds, checks and tests need, when this is root on a machine with apt-get. Elsewhere
# it does nothing: the tests then say what they could not run.
set -euo pipefail
cd "$(dirname "$0")/../.."

if [[ $(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then
	echo "packages are not installed: this needs root and apt-get" >&2
	exit 0
fi
e2e/lab/packages.sh build ceph boot debian keystone barbican clients tempest

# What only tests and checks need: the external etcd of the scenarios, and the checker of scripts.
missing=()
command -v shellcheck >/dev/null || missing+=(shellcheck)
command -v etcd >/dev/null || missing+=(etcd-server)
if ((${#missing[@]})); then
	echo "missing Debian packages: ${missing[*]}"
	export DEBIAN_FRONTEND=noninteractive
	apt-get -qq -o Acquire::Retries=3 update
	apt-get -qq -y -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 -o Dpkg::Use-Pty=0 install --no-install-recommends "${missing[@]}" >/dev/null
	systemctl disable --now etcd >/dev/null 2>&1 || true # its package starts a server; tests start their own
	echo "installed: ${missing[*]}"
fi
