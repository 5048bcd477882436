#!/usr/bin/env bash
# Fuzzes: fuzz.sh [PACKAGE...], by default every package that has fuzz targets. FUZZ_SECONDS (default 30) is the time for all of
# them together, without that for compiling; each gets an equal share. An input that fails is written to testdata/fuzz beside
# the target, where it belongs once the mistake is corrected.
set -euo pipefail
cd "$(dirname "$0")/../.."
export CGO_ENABLED=0

total=${FUZZ_SECONDS:-30}
[[ $total =~ ^[1-9][0-9]*$ ]] || { echo "FUZZ_SECONDS must be a number of seconds: $total" >&2; exit 2; }
packages=("$@")
if ((${#packages[@]} == 0)); then
	mapfile -t packages < <(grep -rl --include='*_test.go' '^func Fuzz' agent hub pkg e2e | xargs -n 1 dirname | sort -u | sed 's|^|./|')
fi

targets=()
for p in "${packages[@]}"; do
	# Listed first, so that a package that does not compile is an error.
	listed=$(nice go test -list '^Fuzz' "$p")
	while read -r name; do
		[[ $name != Fuzz* ]] || targets+=("$p $name")
	done <<<"$listed"
done
((${#targets[@]} > 0)) || { echo "no fuzz targets" >&2; exit 1; }
share=$((total * 1000 / ${#targets[@]}))
((share > 0)) || share=1
printf '== fuzzing %d targets, %d ms each\n' "${#targets[@]}" "$share" >&2

out=$(mktemp)
trap 'rm -f "$out"' EXIT
bad=0
for t in "${targets[@]}"; do
	read -r p name <<<"$t"
	if nice go test -run '^$' -fuzz "^$name\$" -fuzztime "${share}ms" -fuzzminimizetime 50x -parallel=1 "$p" >"$out" 2>&1; then
		printf '%s %s: %s\n' "$p" "$name" "$(grep -o 'execs: [0-9]*' "$out" | tail -1)"
	elif grep -qx ' *context deadline exceeded' "$out" && ! grep -qE 'Failing input|failing input file|seed corpus entry' "$out"; then
		# The time was over in the middle of an input, which go reports as a failure now and then; a hang has its input written,
		# and a failure whose input was being made smaller just then is one.
		printf '%s %s: stopped\n' "$p" "$name"
	else
		printf '%s %s: FAILED\n' "$p" "$name"
		cat "$out"
		bad=1
	fi
done
exit "$bad"
