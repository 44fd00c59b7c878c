#!/bin/sh
# Makes a Debian or Ubuntu machine able to build Drydock and to run its sandboxes.
#
# It installs what is missing, starts the container engine, raises the limits that several clusters
# need and then proves that a privileged container runs. It says what it is going to change before it
# changes it, and a machine on which nothing is missing is left as it is.
# shellcheck disable=SC2086 # the lists of packages are meant to fall into words

set -eu

here=$(dirname "$0")

# State of a daemon started by hand. A machine with systemd has none of these.
state_dir=${DRYDOCK_ENGINE_STATE:-/run/drydock}
log_dir=${DRYDOCK_ENGINE_LOG:-/var/log/drydock}
pid_file=$state_dir/dockerd.pid
log_file=$log_dir/dockerd.log

daemon_json=/etc/docker/daemon.json
# Its presence says that daemon.json is ours and may be rewritten.
daemon_json_mark=/etc/docker/.written-by-drydock
runtime_wrapper=/usr/local/lib/drydock/runc-bounded
sysctl_file=/etc/sysctl.d/90-drydock.conf

# kind's documentation asks for these watches as soon as there is more than a handful of nodes. Its 512
# instances end at sixteen: an idle node was measured to hold 29.
inotify_watches=524288
inotify_instances=4096

# A daemon that has not answered after this long is broken, not slow: it takes 2 s on two cores.
start_seconds=60

engine_packages="docker.io containerd runc iptables iproute2 jq"
# uidmap lets mmdebstrap work for a user who is not root.
build_packages="gcc libc6-dev libseccomp-dev make git iproute2 ca-certificates debian-archive-keyring mmdebstrap uidmap chromium fonts-dejavu-core"
go_wanted=26 # minor version: Go 1.26

usage() {
	cat <<'END'
usage: setup.sh [up|down|check] [--engine-only]

  up      install what is missing, start the engine, prove that it works (the default)
  down    stop the daemon that "up" started by hand, and with it every container
  check   change nothing; say what is missing and exit 1 if anything is

  --engine-only   leave out what only building and testing need

Example: sandbox/engine/setup.sh up
END
}

say() { printf '%s\n' "$*" >&2; }
die() {
	say "setup.sh: $*"
	exit 1
}

as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	elif command -v sudo >/dev/null 2>&1; then
		sudo "$@"
	else
		die "this needs root, and there is no sudo: $*"
	fi
}

has_systemd() { [ -d /run/systemd/system ]; }

missing_packages() {
	for package in "$@"; do
		status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) || status=
		[ "$status" = installed ] || printf '%s ' "$package"
	done
}

# Whether Docker runs but does not let this user in: no reason to install a second engine.
docker_denied() { docker version 2>&1 | grep -qi 'permission denied'; }

denied() {
	die "Docker runs, but user $(id -un) may not use it. Run this, log in again, and try again:
  sudo usermod -aG docker $(id -un)"
}

# The engine that works here: docker, podman or nothing.
working_engine() {
	if docker version --format '{{.Server.Version}}' >/dev/null 2>&1; then
		echo docker
	elif podman version --format '{{.Server.Version}}' >/dev/null 2>&1; then
		echo podman
	fi
}

# Prints the minor version of Go 1.x that building in this directory would use; nothing without Go.
go_minor() {
	command -v go >/dev/null 2>&1 || return 0
	go env GOVERSION 2>/dev/null | sed -n 's/^go1\.\([0-9]*\).*/\1/p'
}

# Go from 1.21 on fetches the toolchain that go.mod asks for, unless GOTOOLCHAIN forbids it.
go_suffices() {
	minor=$(go_minor)
	[ -n "$minor" ] || return 1
	[ "$minor" -ge "$go_wanted" ] && return 0
	[ "$minor" -ge 21 ] && [ "$(go env GOTOOLCHAIN)" != local ]
}

inotify() { cat "/proc/sys/fs/inotify/$1"; }

inotify_low() {
	[ "$(inotify max_user_watches)" -lt $inotify_watches ] ||
		[ "$(inotify max_user_instances)" -lt $inotify_instances ]
}

# --- the probe -----------------------------------------------------------------------------------

# A complete static program of 130 bytes that exits with 0: no registry and no package is needed to
# prove that containers run.
write_probe() {
	case $(uname -m) in
	x86_64)
		printf '\177\105\114\106\002\001\001\000\000\000\000\000\000\000\000\000\002\000\076\000\001\000\000\000\170\000\100\000\000\000\000\000\100\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\100\000\070\000\001\000\000\000\000\000\000\000\001\000\000\000\005\000\000\000\000\000\000\000\000\000\000\000\000\000\100\000\000\000\000\000\000\000\100\000\000\000\000\000\201\000\000\000\000\000\000\000\201\000\000\000\000\000\000\000\000\020\000\000\000\000\000\000\061\377\270\074\000\000\000\017\005'
		;;
	aarch64)
		printf '\177\105\114\106\002\001\001\000\000\000\000\000\000\000\000\000\002\000\267\000\001\000\000\000\170\000\100\000\000\000\000\000\100\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\000\100\000\070\000\001\000\000\000\000\000\000\000\001\000\000\000\005\000\000\000\000\000\000\000\000\000\000\000\000\000\100\000\000\000\000\000\000\000\100\000\000\000\000\000\204\000\000\000\000\000\000\000\204\000\000\000\000\000\000\000\000\020\000\000\000\000\000\000\000\000\200\322\250\013\200\322\001\000\000\324'
		;;
	*) die "no probe for $(uname -m): Drydock runs on x86_64 and aarch64" ;;
	esac >"$1"
	chmod 755 "$1"
}

# Runs a privileged container with the engine named by $1; its complaint goes to stdout.
probe_privileged() {
	work=$(mktemp -d)
	write_probe "$work/probe"
	if ! tar -C "$work" -cf - probe | "$1" import - drydock/probe:setup >/dev/null 2>"$work/err"; then
		cat "$work/err"
		rm -rf "$work"
		return 1
	fi
	code=0
	"$1" run --rm --privileged --network none drydock/probe:setup /probe >"$work/err" 2>&1 || code=$?
	"$1" rmi drydock/probe:setup >/dev/null 2>&1 || true
	[ $code = 0 ] || cat "$work/err"
	rm -rf "$work"
	return $code
}

# --- configuration of an engine that we installed --------------------------------------------------

write_runtime_wrapper() {
	# The engine may be starting a container with an older wrapper: replace it in one step.
	as_root install -D -m 755 "$here/runc-bounded.sh" $runtime_wrapper.new
	as_root mv $runtime_wrapper.new $runtime_wrapper
}

# write_daemon_json [bounded]: settings for an engine that has none of its own.
#
# The pools make 1024 networks of 62 addresses (every cluster has a network of its own) where Docker's
# own default makes about 30. live-restore keeps sandboxes alive while the service is upgraded; a
# daemon started by hand stops its containers instead, so that "down" leaves nothing behind.
write_daemon_json() {
	if [ -e $daemon_json ] && [ ! -e $daemon_json_mark ]; then
		return 1
	fi
	live_restore=false
	has_systemd && live_restore=true
	runtime=
	if [ "${1:-}" = bounded ]; then
		runtime="\"default-runtime\": \"runc-bounded\",
  \"runtimes\": {\"runc-bounded\": {\"path\": \"$runtime_wrapper\"}},
  "
	fi
	as_root mkdir -p /etc/docker
	as_root tee $daemon_json >/dev/null <<END
{
  $runtime"default-address-pools": [
    {"base": "172.17.0.0/16", "size": 24},
    {"base": "172.18.0.0/16", "size": 26}
  ],
  "live-restore": $live_restore,
  "log-driver": "json-file",
  "log-opts": {"max-size": "10m", "max-file": "3"}
}
END
	as_root touch $daemon_json_mark
}

# --- the daemon ------------------------------------------------------------------------------------

# The pid of the daemon that we started, if it still runs.
our_daemon() {
	[ -f "$pid_file" ] || return 0
	pid=$(cat "$pid_file")
	case $(cat "/proc/$pid/comm" 2>/dev/null) in
	dockerd) echo "$pid" ;;
	esac
}

wait_for_daemon() {
	tries=$((start_seconds * 5))
	until docker version >/dev/null 2>&1; do
		if docker_denied; then denied; fi
		tries=$((tries - 1))
		if [ $tries = 0 ]; then
			[ ! -f "$log_file" ] || tail -n 20 "$log_file" >&2
			die "the engine did not answer within $start_seconds s"
		fi
		if ! has_systemd && [ -z "$(our_daemon)" ]; then
			tail -n 20 "$log_file" >&2
			die "the engine stopped at once; its log is $log_file"
		fi
		sleep 0.2
	done
}

start_daemon() {
	if has_systemd; then
		as_root systemctl enable --now docker.service
	else
		as_root mkdir -p "$state_dir" "$log_dir"
		# dockerd writes the pid file itself; a file left by a machine that was switched off is not ours.
		as_root rm -f "$pid_file"
		as_root sh -c "exec setsid dockerd --pidfile '$pid_file' >>'$log_file' 2>&1 </dev/null &"
		tries=50
		until [ -f "$pid_file" ] || [ $tries = 0 ]; do
			tries=$((tries - 1))
			sleep 0.1
		done
	fi
	wait_for_daemon
}

stop_daemon() {
	pid=$(our_daemon)
	if [ -z "$pid" ]; then
		say "no daemon started by this script is running"
		return 0
	fi
	say "stopping the engine (pid $pid) and its containers"
	as_root kill "$pid"
	tries=$((start_seconds * 5))
	while [ -n "$(our_daemon)" ]; do
		tries=$((tries - 1))
		[ $tries != 0 ] || die "the engine (pid $pid) has not stopped within $start_seconds s; its log is $log_file"
		sleep 0.2
	done
	as_root rm -f "$pid_file"
}

restart_daemon() {
	if has_systemd; then
		as_root systemctl restart docker.service
		wait_for_daemon
	else
		stop_daemon
		start_daemon
	fi
}

# --- the commands ----------------------------------------------------------------------------------

# Prints one line for each thing that is missing.
wanting() {
	if docker_denied; then denied; fi
	engine=$(working_engine)
	if [ -z "$engine" ]; then
		packages=$(missing_packages $engine_packages)
		if [ -n "$packages" ]; then echo "install the engine: ${packages% }"; fi
		if has_systemd; then echo "start the engine: systemctl enable --now docker.service"; else
			echo "start the engine: dockerd, in the background, log in $log_file"
		fi
	fi
	if inotify_low; then
		echo "raise fs.inotify.max_user_watches to $inotify_watches and max_user_instances to $inotify_instances"
	fi
	[ "$engine_only" = no ] || return 0
	packages=$(missing_packages $build_packages)
	if [ -n "$packages" ]; then echo "install what building and testing need: ${packages% }"; fi
	if ! go_suffices; then echo "install Go 1.$go_wanted or newer (found: $(go env GOVERSION 2>/dev/null || echo none))"; fi
}

install_packages() {
	packages=$(missing_packages "$@")
	[ -n "$packages" ] || return 0
	command -v apt-get >/dev/null 2>&1 ||
		die "there is no apt-get here: install the equivalents of these packages yourself: $packages"
	as_root apt-get update -qq >&2
	as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends $packages >&2
}

# Debian's own Go, from backports where they are set up, is enough if it can fetch the right toolchain.
install_go() {
	go_suffices && return 0
	if ! command -v go >/dev/null 2>&1; then
		codename=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
		as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends -t "$codename-backports" golang-go >&2 ||
			as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends golang-go >&2 || true
	fi
	go_suffices || die "Go 1.$go_wanted is needed, and the packages of this machine bring $(go env GOVERSION 2>/dev/null || echo none).
Unpack https://go.dev/dl/ (go1.$go_wanted for linux) to /usr/local/go, put /usr/local/go/bin on the PATH and run this again.
With Go 1.21 or newer it is enough to allow it to fetch the version it needs: go env -w GOTOOLCHAIN=auto"
}

raise_inotify() {
	inotify_low || return 0
	as_root tee $sysctl_file >/dev/null <<END
# Several kind clusters on one machine run out of the default number of watches. Written by Drydock.
fs.inotify.max_user_watches = $inotify_watches
fs.inotify.max_user_instances = $inotify_instances
END
	as_root sysctl -q -p $sysctl_file
}

# An update of this script may bring a new wrapper.
refresh_wrapper() {
	if [ -e $runtime_wrapper ] && ! cmp -s "$here/runc-bounded.sh" $runtime_wrapper; then write_runtime_wrapper; fi
}

# Starts an engine where none works, and gives it the runtime wrapper if the probe shows the need.
bring_up_engine() {
	engine=$(working_engine)
	if [ -z "$engine" ]; then
		install_packages $engine_packages
		# From Debian 13 on, docker.io no longer brings the docker command.
		if ! command -v docker >/dev/null 2>&1; then install_packages docker-cli; fi
		if [ ! -e $daemon_json ]; then write_daemon_json; fi
		start_daemon
		engine=docker
	fi
	refresh_wrapper
	if complaint=$(probe_privileged "$engine"); then
		return 0
	fi
	case $complaint in
	*"unable to apply caps"* | *"apply caps"*) ;;
	*) die "a privileged container does not run with $engine: $complaint" ;;
	esac
	[ "$engine" = docker ] || die "a privileged container does not run with $engine: $complaint"
	say "+ this machine withholds capabilities: make $runtime_wrapper the engine's default runtime and restart it"
	write_runtime_wrapper
	write_daemon_json bounded ||
		die "$daemon_json is yours, so it is left alone. Add to it:
  \"default-runtime\": \"runc-bounded\", \"runtimes\": {\"runc-bounded\": {\"path\": \"$runtime_wrapper\"}}
and restart the engine."
	restart_daemon
	complaint=$(probe_privileged docker) || die "a privileged container still does not run: $complaint"
}

report() {
	engine=$(working_engine)
	say "engine: $engine $("$engine" version --format '{{.Server.Version}}'), privileged containers run"
}

up() {
	plan=$(wanting)
	if [ -n "$plan" ]; then printf '%s\n' "$plan" | sed 's/^/+ /' >&2; fi
	raise_inotify
	if [ "$engine_only" = no ]; then
		install_packages $build_packages
		install_go
	fi
	bring_up_engine
	report
}

check() {
	plan=$(wanting)
	if [ -n "$plan" ]; then
		printf '%s\n' "$plan" | sed 's/^/missing: /' >&2
		say "setup.sh up mends this"
		exit 1
	fi
	complaint=$(probe_privileged "$(working_engine)") || die "a privileged container does not run: $complaint"
	report
}

engine_only=no
action=up
for word in "$@"; do
	case $word in
	up | down | check) action=$word ;;
	--engine-only) engine_only=yes ;;
	-h | --help)
		usage
		exit 0
		;;
	*)
		usage >&2
		exit 2
		;;
	esac
done

case $action in
up) up ;;
down) stop_daemon ;;
check) check ;;
esac
