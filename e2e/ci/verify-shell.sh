#!/usr/bin/env bash
# Runs shellcheck over every tracked shell script. Without shellcheck it says so; with CI=true that is a failure.
set -euo pipefail
cd "$(dirname "$0")/../.."

if ! command -v shellcheck >/dev/null; then
	echo "not run, shellcheck is missing" >&2
	[[ ${CI:-} != true ]]
	exit
fi
mapfile -t scripts < <(git ls-files -co --exclude-standard | while read -r f; do
	[[ -f $f && ($f == *.sh || $(head -c 20 "$f" | head -n 1 | tr -d '\0') == '#!'*sh) ]] && echo "$f"
done)
shellcheck --external-sources --source-path=SCRIPTDIR "${scripts[@]}"
echo "shellcheck: ${#scripts[@]} scripts"
