#!/bin/sh
# Stands for docker in front of kind, which offers no way to add to what it
# runs: "docker run" gets the sandbox's labels, limits and host name, and the
# node's anonymous volume gets the labels too, so that nothing can be left unfound.
set -eu
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
exec "$DRYDOCK_DOCKER" run $DRYDOCK_RUN_ARGS "$@"
