#!/usr/bin/env bash
# Turns the figures of run.sh into Markdown: report.sh DIR, with results.tsv, memory.tsv and empty.tsv in DIR.
set -euo pipefail

dir=$1
gib=${BENCH_GIB:-1}

# shellcheck source=e2e/bench/measure.sh
. "$(dirname "$0")/measure.sh"
machine
awk -F '\t' -v gib="$gib" '
	{ k = $1 "\t" $2; if (!(k in n)) order[++keys] = k; n[k]++; for (i = 3; i <= NF; i++) v[k, i, n[k]] = $i; if ($2 > most) most = $2 }
	# The median of one column of one tool.
	function median(k, c,   i, j, t, a) {
		for (i = 1; i <= n[k]; i++) a[i] = v[k, c, i]
		for (i = 2; i <= n[k]; i++) for (j = i; j > 1 && a[j] < a[j-1]; j--) { t = a[j]; a[j] = a[j-1]; a[j-1] = t }
		return a[int((n[k] + 1) / 2)]
	}
	function ratio(ours, theirs) { return ours in n ? sprintf("%.2f", median(theirs, 3) / median(ours, 3)) : "-" }
	END {
		name["atoll_tls"] = "Atoll, TLS"; name["atoll_unix"] = "Atoll, unix socket"
		name["diff_parallel"] = "`rbd export-diff --whole-object \\| rbd import-diff`"
		name["diff_sequential"] = "the same, one site after the other"
		name["plain_parallel"] = "`rbd export \\| rbd import`"
		name["qemu_parallel"] = "`qemu-img convert -m 16 -W -n`"
		printf "%d runs of each tool in turn; medians.\n\n", n[order[1]]
		print "| tool | sites | seconds | over Atoll, TLS | over Atoll, unix socket | CPU s per GiB and site | GiB read from central |"
		print "|---|---|---|---|---|---|---|"
		for (s = 1; s <= most; s++) for (i = 1; i <= keys; i++) {
			split(order[i], p, "\t")
			if (p[2] == s) printf "| %s | %d | %.2f | %s | %s | %.2f | %.2f |\n", name[p[1]], s, median(order[i], 3),
				ratio("atoll_tls\t" s, order[i]), ratio("atoll_unix\t" s, order[i]),
				median(order[i], 5) / gib / s, median(order[i], 4) / 2^30
		}
		print "\nWhere the CPU seconds go:\n"
		print "| tool | sites | central Ceph | Ceph of the sites | hub | central agent | agents of the sites | clients |"
		print "|---|---|---|---|---|---|---|---|"
		for (s = 1; s <= most; s++) for (i = 1; i <= keys; i++) {
			split(order[i], p, "\t")
			if (p[2] != s) continue
			printf "| %s | %d |", name[p[1]], s
			for (c = 6; c <= 11; c++) printf " %.2f |", median(order[i], c)
			print ""
		}
	}' "$dir/results.tsv"
if [[ -s $dir/empty.tsv ]]; then
	printf '\n| image without data | seconds |\n|---|---|\n'
	awk -F '\t' '{ printf "| %s | %s |\n", $1, $2 }' "$dir/empty.tsv"
fi
if [[ -s $dir/memory.tsv ]]; then
	printf '\n| process | peak resident memory, MiB |\n|---|---|\n'
	awk -F '\t' '{ printf "| %s | %s |\n", $1, $2 }' "$dir/memory.tsv"
fi
