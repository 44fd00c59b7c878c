#!/bin/sh
# Stands for docker in front of kind, which offers no way to add to what it
# runs: "docker run" gets the sandbox's labels, limits and host name, and the
# node's anonymous volume gets the labels too, so that nothing can be left unfound.
#
# It also answers what kind asks and the server knows: two dozen times the docker
# command, and through it three commands in the node, take as long as the node
# takes to start, beside it. What is not known here is docker's to answer.
set -eu
made=$0.made # is there when the node is

case $* in
"info --format {{json .}}") printf '%s\n' "$DRYDOCK_INFO" && exit ;;
"info --format '{{json .SecurityOptions}}'") printf '%s\n' "$DRYDOCK_SECURITY" && exit ;;
"info -f {{.Driver}}") printf '%s\n' "$DRYDOCK_DRIVER" && exit ;;
"info -f {{json .DriverStatus }}") printf '%s\n' "$DRYDOCK_DRIVER_STATUS" && exit ;;
"inspect --type=image $DRYDOCK_IMAGE") exit ;; # it was looked at a moment ago
"network ls --filter=name=^$DRYDOCK_CLUSTER\$ --format={{.ID}}") printf '%s\n' "$DRYDOCK_CLUSTER" && exit ;;
"ps -a --filter label=io.x-k8s.kind.cluster=$DRYDOCK_CLUSTER --format {{.Names}}")
	if [ -e "$made" ]; then printf '%s\n' "$DRYDOCK_NODE"; fi
	exit
	;;
'inspect --format {{ index .Config.Labels "io.x-k8s.kind.role"}} '"$DRYDOCK_NODE") echo control-plane && exit ;;
esac

# In a copy of a template, what kind would write is there, and says the same.
if [ -n "$DRYDOCK_COPY" ]; then
	case $* in
	"exec --privileged $DRYDOCK_NODE cat /kind/version") printf '%s\n' "$DRYDOCK_VERSION" && exit ;;
	"inspect -f {{range .NetworkSettings.Networks}}{{.IPAddress}},{{.GlobalIPv6Address}}{{end}} $DRYDOCK_NODE")
		printf '%s,\n' "$DRYDOCK_ADDRESS" && exit
		;;
	"exec --privileged $DRYDOCK_NODE mkdir -p /kind" | "exec --privileged -i $DRYDOCK_NODE cp /dev/stdin /kind/kubeadm.conf") exit ;;
	esac
fi

if [ "${1-}" != run ]; then exec "$DRYDOCK_DOCKER" "$@"; fi
shift
left=$#
while [ "$left" -gt 0 ]; do
	arg=$1
	shift
	left=$((left - 1))
	if [ "$arg" = --volume ] && [ "${1-}" = /var ]; then
		shift
		left=$((left - 1))
		set -- "$@" --mount "$DRYDOCK_VAR_MOUNT"
	elif [ "$arg" = --hostname ]; then
		shift
		left=$((left - 1))
	else
		set -- "$@" "$arg"
	fi
done
# shellcheck disable=SC2086 # words without spaces, meant to be split
"$DRYDOCK_DOCKER" run $DRYDOCK_RUN_ARGS "$@"
: >"$made"
