#!/usr/bin/env bash
# Lints the .proto files, checks their format, and refuses changes that break what the last release or the main branch
# promised. Breaking changes are not checked only where history holds no earlier version of the files.
set -euo pipefail
cd "$(dirname "$0")/../.."

buf=.build/bin/buf
"$buf" lint
"$buf" format -d --exit-code

if ! git rev-parse -q --verify HEAD >/dev/null; then
	echo "breaking changes not checked: this is not a git checkout"
	exit 0
fi
if [[ $(git rev-parse --is-shallow-repository) == true ]]; then
	echo "a shallow clone has no history to compare with: fetch it whole (git fetch --unshallow)" >&2
	exit 1
fi

# Candidates: the last release, the main branch as published, and the parent of HEAD.
declare -A seen=()
checked=0
for ref in "$(git describe --tags --abbrev=0 --match 'v*' 2>/dev/null || true)" origin/main main 'HEAD~1'; do
	[[ -n $ref ]] || continue
	commit=$(git rev-parse -q --verify "$ref^{commit}" || true)
	[[ -n $commit && -z ${seen[$commit]:-} ]] || continue
	seen[$commit]=1
	[[ -n $(git ls-tree --name-only "$commit" buf.yaml) ]] || continue
	echo "breaking changes against $ref ($commit)"
	"$buf" breaking --against ".git#ref=$commit"
	checked=$((checked + 1))
done
if ((checked == 0)); then
	echo "breaking changes not checked: no earlier commit holds .proto files"
fi
