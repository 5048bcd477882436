#!/usr/bin/env bash
# Turns the figures of run.sh into Markdown: report.sh DIR, with results.tsv, memory.tsv and empty.tsv in DIR.
set -euo pipefail

dir=$1
gib=${BENCH_GIB:-1}

# Medians: sort by tool, sites and one column, take the middle.
median() {
	sort -t $'\t' -k1,1 -k2,2n -k"$1","$1"n "$dir/results.tsv" |
		awk -F '\t' -v c="$1" '
			function put() { if (n) printf "%s\t%s\n", key, v[int((n + 1) / 2)] }
			{ k = $1 "\t" $2 } k != key { put(); key = k; n = 0 } { v[++n] = $c } END { put() }'
}

printf '%d cores, %s, kernel %s, %s. %s.\n\n' "$(nproc)" \
	"$(awk -F ': ' '/model name/ { print $2; exit }' /proc/cpuinfo)" "$(uname -r)" "$(ceph --version | cut -d' ' -f1-3)" \
	"$(awk -F '\t' '$1 == first || !first { first = $1; if ($2 == 1) n++ } END { printf "%d runs of each tool in turn, medians", n }' "$dir/results.tsv")"
printf '| tool | sites | seconds | CPU s per GiB and site | against Atoll over TLS | against Atoll over a unix socket | bytes read from central, GiB |\n'
printf '|---|---|---|---|---|---|---|\n'
join -t $'\t' <(median 3 | sed 's/\t/ /' | sort) <(median 4 | sed 's/\t/ /' | sort) |
	join -t $'\t' - <(median 5 | sed 's/\t/ /' | sort) |
	awk -F '\t' -v gib="$gib" '
		{ split($1, k, " "); tool[NR] = k[1]; sites[NR] = k[2]; wall[NR] = $2; cpu[NR] = $3; bytes[NR] = $4
		  if (k[1] == "atoll_tls") tls[k[2]] = $2; if (k[1] == "atoll_unix") sock[k[2]] = $2 }
		function ratio(ours, theirs) { return ours ? sprintf("%.2fx", theirs / ours) : "-" }
		END {
			name["atoll_tls"] = "Atoll, TLS"; name["atoll_unix"] = "Atoll, unix socket"
			name["diff_parallel"] = "`rbd export-diff --whole-object \\| rbd import-diff`, sites at once"
			name["diff_sequential"] = "the same, one site after the other"
			name["plain_parallel"] = "`rbd export \\| rbd import`, sites at once"
			name["qemu_parallel"] = "`qemu-img convert -m 16 -W -n`, sites at once"
			for (s = 1; s <= 3; s += 2) for (i = 1; i <= NR; i++) if (sites[i] == s)
				printf "| %s | %d | %.2f | %.2f | %s | %s | %.2f |\n", name[tool[i]], s, wall[i], cpu[i] / gib / s,
					ratio(tls[s], wall[i]), ratio(sock[s], wall[i]), bytes[i] / 2^30
		}'
if [[ -s $dir/empty.tsv ]]; then
	printf '\n| empty image | seconds |\n|---|---|\n'
	awk -F '\t' '{ printf "| %s | %s |\n", $1, $2 }' "$dir/empty.tsv"
fi
if [[ -s $dir/memory.tsv ]]; then
	printf '\n| process | peak resident memory, MiB |\n|---|---|\n'
	awk -F '\t' '{ printf "| %s | %s |\n", $1, $2 }' "$dir/memory.tsv"
fi
