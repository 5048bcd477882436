#!/usr/bin/env bash
# Turns the figures of imports.sh into Markdown: import_report.sh RESULTS GIB DIRECTORY-OF-THE-FILES.
set -euo pipefail

results=$1 gib=$2 www=$3
# shellcheck source=e2e/bench/measure.sh
. "$(dirname "$0")/measure.sh"
machine
printf '%s.\n' "$(qemu-img --version | head -n 1)"
printf 'A disk of %d GiB with %d GiB of data; as a plain qcow2 %d MiB, compressed %d MiB.\n' $((gib * 5)) "$gib" \
	$(($(stat -c %s "$www/plain.qcow2") >> 20)) $(($(stat -c %s "$www/compressed.qcow2") >> 20))
awk -F '\t' -v gib="$gib" '
	{ k = $1 "\t" $2; if (!(k in n)) order[++keys] = k; n[k]++; for (i = 3; i <= NF; i++) v[k, i, n[k]] = $i }
	# The median of one column of one tool.
	function median(k, c,   i, j, t, a) {
		for (i = 1; i <= n[k]; i++) a[i] = v[k, c, i]
		for (i = 2; i <= n[k]; i++) for (j = i; j > 1 && a[j] < a[j-1]; j--) { t = a[j]; a[j] = a[j-1]; a[j-1] = t }
		return a[int((n[k] + 1) / 2)]
	}
	END {
		name["atoll"] = "Atoll, web-download"
		name["sequential"] = "curl, `qemu-img convert`, `rbd import` at one site after the other"
		name["parallel"] = "curl, `qemu-img convert` into all pools at once"
		name["chained"] = "curl, `qemu-img convert` into central, `rbd export-diff \\| rbd import-diff` to both edges"
		printf "%d runs of each tool in turn; medians.\n\n", n[order[1]]
		print "| qcow2 | tool | seconds | over Atoll | CPU s per GiB of data | Ceph | hub | agents | clients | most disk, MiB | hub, MiB |"
		print "|---|---|---|---|---|---|---|---|---|---|---|"
		for (i = 1; i <= keys; i++) {
			split(order[i], p, "\t")
			ours = "atoll\t" p[2]
			printf "| %s | %s | %.1f | %s | %.2f |", p[2], name[p[1]], median(order[i], 3),
				ours in n ? sprintf("%.2f", median(order[i], 3) / median(ours, 3)) : "-", median(order[i], 4) / gib
			for (c = 5; c <= 8; c++) printf " %.2f |", median(order[i], c) / gib
			printf " %d | %s |\n", median(order[i], 9), p[1] == "atoll" ? median(order[i], 10) : ""
		}
	}' "$results"
