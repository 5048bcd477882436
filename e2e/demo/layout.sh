# Where the demo keeps what, and how its hub and agents are started and stopped. The scripts of the demo source this.
# shellcheck shell=bash
# shellcheck disable=SC2034 # they use these names

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck source=e2e/lab/process.sh
. "$repo/e2e/lab/process.sh"

demo=${DEMO_DIR:-$repo/.demo}
[[ $demo == /* ]] || demo=$PWD/$demo
store_kind=${STORE:-ceph}
sites=(central dcn0 dcn1)
bin=$repo/.build/bin
# The hub takes five ports from here on: gRPC, agents' link, frames, metrics, Image API.
first_port=${DEMO_PORT:-9393}
api=127.0.0.1:$first_port
link=127.0.0.1:$((first_port + 1))
frames=127.0.0.1:$((first_port + 2))
metrics=127.0.0.1:$((first_port + 3))
image_api=127.0.0.1:$((first_port + 4))

# shown DIR prints a path as short as it can be told.
shown() { printf '%s' "${1#"$PWD"/}"; }

ctl() { "$bin/atollctl" --hub "$api" "$@"; }

# What the glance command needs to know. Without authentication any token will do; told the version, it asks nothing else.
glance_options="--os-image-url http://$image_api --os-auth-token any --os-image-api-version 2"

# glance_cli ARGS... runs the glance command. It takes an open standard input for image data.
glance_cli() {
	local -a options
	read -r -a options <<<"$glance_options"
	PYTHONWARNINGS=ignore timeout -k 5 60 glance "${options[@]}" "$@" <&-
}

ceph_conf() { printf '%s/ceph/%s/ceph.conf' "$demo" "$1"; }

# rbd_at STORE ARGS... runs rbd at a store as admin, never for longer than two minutes.
rbd_at() {
	local store=$1
	shift
	timeout -k 5 120 rbd -c "$(ceph_conf "$store")" "$@"
}

# service NAME DO... calls a function of process.sh for the hub or the agent of a site.
service() {
	local name=$1 do=$2
	shift 2
	case $name in
	hub) "$do" "$demo/run/hub.pid" atoll-hub "$demo/hub" "$@" ;;
	*) "$do" "$demo/run/agent-$name.pid" atoll-agent "$demo/agent/$name.yaml" "$@" ;;
	esac
}

service_runs() { service "$1" process_alive; }
service_stop() { service "$1" process_stop 20; }

hub_start() {
	process_start "$demo/run/hub.pid" "$demo/log/hub.log" "$bin/atoll-hub" --data-dir "$demo/hub" --central-store central \
		--grpc-addr "$api" --link-addr "$link" --frames-addr "$frames" --metrics-addr "$metrics" \
		--image-addr "$image_api" --staging-limit 8GiB
}

# agent_config SITE writes the agent's configuration. The central agent stands beside the hub and moves data over its
# socket, the others through TLS.
agent_config() {
	local site=$1 from=https://$frames store socket=$demo/hub/frames.sock
	if [[ $site == central ]] && ((${#socket} < 100)); then
		from=unix:$socket
	fi
	if [[ $store_kind == ceph ]]; then
		store="driver: ceph, ceph_conf: \"$(ceph_conf "$site")\", user: atoll, pool: images"
	else
		store="driver: file, path: \"$demo/files/$site\""
		mkdir -p "$demo/files/$site"
	fi
	mkdir -p "$demo/agent/$site"
	cat >"$demo/agent/$site.yaml" <<-CONF
		site: $site
		hub: {link: "$link", frames: "$from"}
		state_dir: "$demo/agent/$site"
		stores:
		  - {id: $site, $store}
	CONF
}

# agent_join SITE gets the agent its certificate, unless it has one.
agent_join() {
	local site=$1 token
	[[ ! -e $demo/agent/$site/identity.pem ]] || return 0
	if ctl site show "$site" >/dev/null 2>&1; then
		token=$(ctl site token "$site" 2>/dev/null)
	else
		token=$(ctl site create "$site" 2>/dev/null)
	fi
	"$bin/atoll-agent" join --config "$demo/agent/$site.yaml" --token "$token"
}

agent_start() {
	process_start "$demo/run/agent-$1.pid" "$demo/log/agent-$1.log" "$bin/atoll-agent" run --config "$demo/agent/$1.yaml"
}
