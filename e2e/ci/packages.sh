#!/usr/bin/env bash
# Installs the Debian packages the tests need, when this is root on a machine with apt-get. Elsewhere it does nothing:
# the tests then say what they could not run.
set -euo pipefail
cd "$(dirname "$0")/../.."

if [[ $(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then
	echo "packages are not installed: this needs root and apt-get" >&2
	exit 0
fi
exec e2e/lab/packages.sh test
