#!/usr/bin/env bash
# A Keystone on loopback, as Debian packages it, under uwsgi with an SQLite database.
# Everything it has (conf, keys, database, logs, pid file, openrc files) is in DIR.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=e2e/lab/process.sh
. "$here/process.sh"

region=RegionOne
start_seconds=${LAB_START_SECONDS:-300}
token_seconds=${LAB_TOKEN_SECONDS:-3600}

usage() {
	cat <<-'USAGE'
		usage: keystone.sh COMMAND DIR [ARGUMENT...]

		  up DIR [URL]                  start Keystone (default URL of the image service: http://127.0.0.1:9292) and print its
		                                openrc files; a running one is left alone, but its image endpoints become URL if given
		  endpoint DIR URL [REGION]     make URL the image service's public, internal and admin endpoint of a region, which is
		                                made if it is not there (default: RegionOne)
		  down DIR                      stop it and delete all it has
		  status DIR                    one line; exit code 1 unless it answers

		The openrc files are DIR/NAME.rc:
		  admin         role admin in the project admin
		  demo, alt     role member, which implies reader, in a project of the same name
		  reader        role reader in the project demo
		  nova, glance  roles service and admin in the project service

		  LAB_KEYSTONE_PORT=5000        the port of a new Keystone (default: a free one)
		  LAB_TOKEN_SECONDS=3600        how long tokens of a new Keystone live
		  LAB_START_SECONDS=300         how long each step of a start may take
	USAGE
}

fail() {
	printf 'keystone.sh: %s\n' "$*" >&2
	exit 1
}

# free_port prints a port that nobody listens on, below the range that the kernel hands out and beside that of ceph.sh.
free_port() {
	local addr port tries=0
	declare -A busy=()
	while read -r _ addr _; do
		[[ $addr == *:* ]] && busy[$((16#${addr##*:}))]=1
	done < <(cat /proc/net/tcp /proc/net/tcp6 2>/dev/null)
	while ((tries++ < 1000)); do
		port=$((31000 + RANDOM % 1000))
		if [[ -z ${busy[$port]:-} ]]; then
			echo "$port"
			return
		fi
	done
	fail 'no free port between 31000 and 32000'
}

write_conf() {
	local dir=$1
	cat >"$dir/keystone.conf" <<-CONF
		[DEFAULT]
		log_file = $dir/log/keystone.log
		[database]
		connection = sqlite:///$dir/keystone.db
		sqlite_synchronous = false
		[token]
		provider = fernet
		expiration = $token_seconds
		[fernet_tokens]
		key_repository = $dir/fernet
		[credential]
		key_repository = $dir/credential
		[cache]
		enabled = true
		backend = oslo_cache.dict
		[identity]
		password_hash_rounds = 4
		[oslo_policy]
		policy_dirs = $dir/policy.d
	CONF
}

manage() {
	local dir=$1
	shift
	timeout -k 5 "$start_seconds" keystone-manage --config-file "$dir/keystone.conf" "$@" >>"$dir/log/manage.out" 2>&1 || {
		printf 'keystone.sh: "keystone-manage %s" ended with %s\n' "$1" $? >&2
		return 1
	}
}

write_rc() {
	local dir=$1 user=$2 project=$3 password=$4
	cat >"$dir/$user.rc" <<-RC
		export OS_AUTH_URL=$(url_of "$dir")
		export OS_IDENTITY_API_VERSION=3
		export OS_AUTH_TYPE=password
		export OS_USERNAME=$user
		export OS_PASSWORD=$password
		export OS_USER_DOMAIN_NAME=Default
		export OS_PROJECT_NAME=$project
		export OS_PROJECT_DOMAIN_NAME=Default
		export OS_REGION_NAME=$region
		export OS_INTERFACE=public
		export OS_IMAGE_API_VERSION=2
	RC
}

url_of() { echo "http://127.0.0.1:$(<"$1/port")/v3"; }

# start runs one process with one thread: SQLite has one writer. A connection ends with its answer, since one that is kept
# would hold that thread; clients have to be told.
start() {
	local dir=$1
	process_start "$dir/run/keystone.pid" "$dir/log/uwsgi.out" \
		uwsgi_python3 --http-socket "127.0.0.1:$(<"$dir/port")" --wsgi-file /usr/bin/keystone-wsgi-public \
		--pyargv "--config-file $dir/keystone.conf" --buffer-size 65535 --add-header 'Connection: close' --need-app --disable-logging
}

alive() { process_alive "$1/run/keystone.pid" uwsgi "$1/keystone.conf"; }
stop() { process_stop "$1/run/keystone.pid" uwsgi "$1/keystone.conf" 10; }

answers() { curl -sf -m 15 -o /dev/null "$(url_of "$1")" 2>/dev/null; }

await() {
	local dir=$1 deadline=$((SECONDS + start_seconds))
	until answers "$dir"; do
		if ! alive "$dir" || ((SECONDS >= deadline)); then
			return 1
		fi
		sleep 0.1
	done
}

# call DIR METHOD PATH [BODY] asks as the administrator, whose token is in $token.
call() {
	local dir=$1 method=$2 path=$3 body=${4:-}
	local -a data=()
	[[ -n $body ]] && data=(-H 'Content-Type: application/json' --data-binary "$body")
	curl -sS -f -m 60 -X "$method" -H "X-Auth-Token: $token" "${data[@]}" "$(url_of "$dir")$path"
}

# login prints a token of the administrator.
login() {
	local dir=$1 password body
	password=$(sed -n 's/^export OS_PASSWORD=//p' "$dir/admin.rc")
	body=$(jq -n --arg password "$password" '{auth: {
		identity: {methods: ["password"], password: {user: {name: "admin", domain: {id: "default"}, password: $password}}},
		scope: {project: {name: "admin", domain: {id: "default"}}}}}')
	curl -sS -f -m 60 -o /dev/null -D - -H 'Content-Type: application/json' --data-binary "$body" "$(url_of "$dir")/auth/tokens" |
		tr -d '\r' | sed -n 's/^[Xx]-[Ss]ubject-[Tt]oken: //p'
}

# id_of DIR KIND NAME prints the id of the thing with a name.
id_of() { call "$1" GET "/$2?name=$3" | jq -r ".$2[0].id // empty"; }

add_project() { call "$1" POST /projects "$(jq -n --arg name "$2" '{project: {name: $name, domain_id: "default"}}')" | jq -r .project.id; }

# add_user DIR NAME PROJECT PROJECT-ID ROLE-ID... makes a user with roles in a project, and the openrc file.
add_user() {
	local dir=$1 name=$2 project=$3 project_id=$4 password id role
	shift 4
	password=$(</proc/sys/kernel/random/uuid)
	id=$(call "$dir" POST /users "$(jq -n --arg name "$name" --arg password "$password" \
		'{user: {name: $name, password: $password, domain_id: "default"}}')" | jq -r .user.id)
	for role in "$@"; do
		call "$dir" PUT "/projects/$project_id/users/$id/roles/$role"
	done
	write_rc "$dir" "$name" "$project" "$password"
}

fill() {
	local dir=$1 admin member reader service demo alt services
	admin=$(id_of "$dir" roles admin)
	member=$(id_of "$dir" roles member)
	reader=$(id_of "$dir" roles reader)
	service=$(call "$dir" POST /roles '{"role": {"name": "service"}}' | jq -r .role.id)
	demo=$(add_project "$dir" demo)
	alt=$(add_project "$dir" alt)
	services=$(add_project "$dir" service)
	add_user "$dir" demo demo "$demo" "$member"
	add_user "$dir" reader demo "$demo" "$reader"
	add_user "$dir" alt alt "$alt" "$member"
	add_user "$dir" nova service "$services" "$service" "$admin"
	add_user "$dir" glance service "$services" "$service" "$admin"
	call "$dir" POST /services '{"service": {"type": "image", "name": "glance"}}' >/dev/null
}

# set_endpoint makes URL the image service's endpoint of a region for every interface.
set_endpoint() {
	local dir=$1 url=$2 where=$3 service old interface
	service=$(call "$dir" GET '/services?type=image' | jq -r '.services[0].id')
	call "$dir" GET "/regions/$where" >/dev/null 2>&1 ||
		call "$dir" POST /regions "$(jq -n --arg id "$where" '{region: {id: $id}}')" >/dev/null
	while read -r old; do
		call "$dir" DELETE "/endpoints/$old"
	done < <(call "$dir" GET "/endpoints?service_id=$service&region_id=$where" | jq -r '.endpoints[].id')
	for interface in public internal admin; do
		call "$dir" POST /endpoints "$(jq -n --arg service "$service" --arg region "$where" --arg interface "$interface" --arg url "$url" \
			'{endpoint: {service_id: $service, region_id: $region, interface: $interface, url: $url}}')" >/dev/null
	done
}

# make_keystone builds one from nothing. The file "made" is written last: without it the next up starts over.
make_keystone() {
	local dir=$1 endpoint=$2 password url pid
	local -a pids=()
	stop "$dir"
	rm -rf "${dir:?}"/{keystone.conf,keystone.db*,fernet,credential,policy.d,log,run,port,made} "${dir:?}"/*.rc
	mkdir -p "$dir"/{fernet,credential,policy.d,log,run}
	echo "${LAB_KEYSTONE_PORT:-$(free_port)}" >"$dir/port"
	url=$(url_of "$dir")
	write_conf "$dir"
	manage "$dir" db_sync &
	pids+=($!)
	manage "$dir" fernet_setup --keystone-user "$(id -un)" --keystone-group "$(id -gn)" &
	pids+=($!)
	manage "$dir" credential_setup --keystone-user "$(id -un)" --keystone-group "$(id -gn)" &
	pids+=($!)
	for pid in "${pids[@]}"; do
		wait "$pid"
	done
	# Keystone reads on one connection while it writes on another: without a write-ahead log they lock each other out.
	python3 -c 'import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute("PRAGMA journal_mode=WAL")' "$dir/keystone.db"
	password=$(</proc/sys/kernel/random/uuid)
	write_rc "$dir" admin admin "$password"
	manage "$dir" bootstrap --bootstrap-password "$password" --bootstrap-region-id "$region" \
		--bootstrap-public-url "$url" --bootstrap-internal-url "$url" --bootstrap-admin-url "$url"
	start "$dir"
	await "$dir"
	token=$(login "$dir")
	fill "$dir"
	set_endpoint "$dir" "$endpoint" "$region"
	touch "$dir/made"
}

# up runs with umask 077: the openrc files hold passwords.
up() {
	local dir=$1 endpoint=${2:-} began=$SECONDS
	umask 077
	starting=$dir
	trap 'give_up "$starting"' EXIT
	if [[ ! -e $dir/made ]]; then
		make_keystone "$dir" "${endpoint:-http://127.0.0.1:9292}"
	else
		alive "$dir" || start "$dir"
		await "$dir"
		if [[ -n $endpoint ]]; then
			token=$(login "$dir")
			set_endpoint "$dir" "$endpoint" "$region"
		fi
	fi
	trap - EXIT
	printf 'keystone: up (%d s), %s\n' $((SECONDS - began)) "$(url_of "$dir")"
	printf '%s\n' "$dir"/*.rc
}

give_up() {
	local file
	printf 'keystone.sh: Keystone did not start\n' >&2
	for file in "$1"/log/*; do
		[[ -s $file ]] || continue
		printf -- '--- %s\n' "$file"
		tail -n 15 "$file"
	done >&2
	stop "$1"
}

endpoint() {
	alive "$1" || fail "there is no running Keystone in $1"
	token=$(login "$1")
	set_endpoint "$1" "$2" "${3:-$region}"
}

down() {
	stop "$1"
	rm -rf "${1:?}"/{keystone.conf,keystone.db*,fernet,credential,policy.d,log,run,port,made} "${1:?}"/*.rc
	rm -f "$1/.lock"
	rmdir --ignore-fail-on-non-empty "$1"
	printf 'keystone: gone\n'
}

status() {
	if [[ -e $1/port ]] && alive "$1" && answers "$1"; then
		printf 'keystone: pid %s answers at %s\n' "$(<"$1/run/keystone.pid")" "$(url_of "$1")"
		return
	fi
	printf 'keystone: does not answer\n'
	return 1
}

# locked DIR COMMAND... lets one run at a time change the Keystone of DIR.
locked() {
	local lock
	exec {lock}>"$1/.lock"
	flock -w 300 "$lock" || fail 'another run holds the Keystone of this directory'
	shift
	"$@"
}

main() {
	local command=${1:-} root=${2:-}
	case $command:$# in
	up:[23] | down:2 | status:2 | endpoint:[34]) ;;
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
	case $command in
	status) status "$root" ;;
	*) locked "$root" "$command" "$root" "$@" ;;
	esac
}

main "$@"
