#!/usr/bin/env bash
# A Barbican on loopback, as Debian packages it, under uwsgi with an SQLite database, for the users of a Keystone that
# keystone.sh has made. Everything it has (conf, database, log, pid file) is in DIR.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=e2e/lab/process.sh
. "$here/process.sh"

region=RegionOne
start_seconds=${LAB_START_SECONDS:-300}

usage() {
	cat <<-'USAGE'
		usage: barbican.sh COMMAND DIR [KEYSTONE-DIR]

		  up DIR KEYSTONE-DIR   start Barbican, name it in the catalog of that Keystone, and print its URL; a running one is
		                        left alone
		  down DIR              stop it and delete all it has
		  status DIR            one line; exit code 1 unless it answers

		Members of a project store and read its secrets.

		  LAB_BARBICAN_PORT=9311        the port of a new Barbican (default: a free one)
		  LAB_START_SECONDS=300         how long the start may take
	USAGE
}

fail() {
	printf 'barbican.sh: %s\n' "$*" >&2
	exit 1
}

# free_port prints a port that nobody listens on, beside those of keystone.sh and ceph.sh.
free_port() {
	local addr port tries=0
	declare -A busy=()
	while read -r _ addr _; do
		[[ $addr == *:* ]] && busy[$((16#${addr##*:}))]=1
	done < <(cat /proc/net/tcp /proc/net/tcp6 2>/dev/null)
	while ((tries++ < 1000)); do
		port=$((30000 + RANDOM % 1000))
		if [[ -z ${busy[$port]:-} ]]; then
			echo "$port"
			return
		fi
	done
	fail 'no free port between 30000 and 31000'
}

url_of() { echo "http://127.0.0.1:$(<"$1/port")"; }

# rc KEYSTONE-DIR USER VARIABLE prints a variable of an openrc file.
rc() { sed -n "s/^export $3=//p" "$1/$2.rc"; }

# write_conf writes what Barbican looks for below its home directory. The key is for this database and nothing else.
write_conf() {
	local dir=$1 keystone=$2 key
	key=$(head -c 32 /dev/urandom | base64)
	mkdir -p "$dir/.barbican"
	cat >"$dir/.barbican/barbican.conf" <<-CONF
		[DEFAULT]
		log_file = $dir/barbican.log
		host_href = $(url_of "$dir")
		sql_connection = sqlite:///$dir/barbican.db
		db_auto_create = true
		[keystone_authtoken]
		auth_type = password
		auth_url = $(rc "$keystone" glance OS_AUTH_URL)
		username = $(rc "$keystone" glance OS_USERNAME)
		password = $(rc "$keystone" glance OS_PASSWORD)
		project_name = $(rc "$keystone" glance OS_PROJECT_NAME)
		user_domain_name = $(rc "$keystone" glance OS_USER_DOMAIN_NAME)
		project_domain_name = $(rc "$keystone" glance OS_PROJECT_DOMAIN_NAME)
		[simple_crypto_plugin]
		kek = '$key'
		[oslo_policy]
		enforce_new_defaults = true
		enforce_scope = true
	CONF
	cat >"$dir/barbican.wsgi" <<-WSGI
		from paste import deploy
		application = deploy.loadapp('config:/etc/barbican/barbican-api-paste.ini')
	WSGI
}

# start runs one process with one thread: SQLite has one writer.
start() {
	local dir=$1
	process_start "$dir/barbican.pid" "$dir/uwsgi.out" env HOME="$dir" \
		uwsgi_python3 --http-socket "127.0.0.1:$(<"$dir/port")" --wsgi-file "$dir/barbican.wsgi" \
		--buffer-size 65535 --add-header 'Connection: close' --need-app --disable-logging
}

alive() { process_alive "$1/barbican.pid" uwsgi "$1/barbican.wsgi"; }
stop() { process_stop "$1/barbican.pid" uwsgi "$1/barbican.wsgi" 10; }

answers() { curl -sf -m 15 -o /dev/null "$(url_of "$1")/healthcheck" 2>/dev/null; }

await() {
	local dir=$1 deadline=$((SECONDS + start_seconds))
	until answers "$dir"; do
		if ! alive "$dir" || ((SECONDS >= deadline)); then
			tail -n 15 "$dir/uwsgi.out" "$dir/barbican.log" >&2 || true
			return 1
		fi
		sleep 0.1
	done
}

# register names Barbican in the catalog of Keystone, once.
register() {
	local dir=$1 keystone=$2 auth token service interface url body
	url=$(url_of "$dir")
	auth=$(rc "$keystone" admin OS_AUTH_URL)
	body=$(jq -n --arg password "$(rc "$keystone" admin OS_PASSWORD)" '{auth: {
		identity: {methods: ["password"], password: {user: {name: "admin", domain: {id: "default"}, password: $password}}},
		scope: {project: {name: "admin", domain: {id: "default"}}}}}')
	token=$(curl -sS -f -m 60 -o /dev/null -D - -H 'Content-Type: application/json' --data-binary "$body" "$auth/auth/tokens" |
		tr -d '\r' | sed -n 's/^[Xx]-[Ss]ubject-[Tt]oken: //p')
	local -a call=(curl -sS -f -m 60 -H "X-Auth-Token: $token" -H 'Content-Type: application/json')
	while read -r service; do # of one that is gone
		"${call[@]}" -X DELETE "$auth/services/$service"
	done < <("${call[@]}" "$auth/services?type=key-manager" | jq -r '.services[].id')
	service=$("${call[@]}" --data-binary '{"service": {"type": "key-manager", "name": "barbican"}}' "$auth/services" | jq -r .service.id)
	for interface in public internal admin; do
		"${call[@]}" -o /dev/null --data-binary "$(jq -n --arg service "$service" --arg region "$region" --arg interface "$interface" \
			--arg url "$url" '{endpoint: {service_id: $service, region_id: $region, interface: $interface, url: $url}}')" "$auth/endpoints"
	done
}

up() {
	local dir=$1 keystone=$2 began=$SECONDS
	umask 077
	[[ -e $keystone/admin.rc ]] || fail "there is no Keystone in $keystone"
	if ! alive "$dir"; then
		remove "$dir"
		echo "${LAB_BARBICAN_PORT:-$(free_port)}" >"$dir/port"
		write_conf "$dir" "$keystone"
		start "$dir"
		await "$dir" || {
			stop "$dir"
			fail 'Barbican did not start'
		}
		register "$dir" "$keystone"
	fi
	printf 'barbican: up (%d s), %s\n' $((SECONDS - began)) "$(url_of "$dir")"
}

remove() { rm -rf "${1:?}"/{.barbican,.cache,barbican.db*,barbican.wsgi,barbican.log,barbican.pid,uwsgi.out,port}; }

down() {
	stop "$1"
	remove "$1"
	rmdir --ignore-fail-on-non-empty "$1"
	printf 'barbican: gone\n'
}

status() {
	if [[ -e $1/port ]] && alive "$1" && answers "$1"; then
		printf 'barbican: pid %s answers at %s\n' "$(<"$1/barbican.pid")" "$(url_of "$1")"
		return
	fi
	printf 'barbican: does not answer\n'
	return 1
}

main() {
	local command=${1:-} root=${2:-}
	case $command:$# in
	up:3 | down:2 | status:2) ;;
	help:* | -h:* | --help:*) usage; exit 0 ;;
	*) usage >&2; exit 2 ;;
	esac
	shift 2
	if [[ $command == up ]]; then
		mkdir -p "$root"
	elif [[ ! -d $root ]]; then
		[[ $command == down ]] && exit 0
		fail "no such directory: $root"
	fi
	root=$(cd "$root" && pwd)
	"$command" "$root" "$@"
}

main "$@"
