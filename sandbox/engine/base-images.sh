#!/bin/sh
# Makes the Dockerfile's base images from Debian's packages and this machine's Go, for a machine that
# reaches no container registry, and prints the arguments for docker build.
#
# Example: docker build -t drydock/server $(sandbox/engine/base-images.sh) .
set -eu

release=trixie
base=drydock/debian:$release
golang=drydock/golang:$release

say() { printf '%s\n' "$*" >&2; }

have() { docker image inspect "$1" >/dev/null 2>&1; }

# make_image REF PACKAGES…: a root file system of that release, with apt set up in it.
make_image() {
	ref=$1
	shift
	include=$(printf '%s,' "$@")
	say "making $ref from Debian $release"
	mmdebstrap --quiet --variant=minbase --include="${include%,}" "$release" - |
		docker import --change 'ENV PATH=/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' - "$ref" >/dev/null
}

have $base || make_image $base ca-certificates
if ! have $golang; then
	make_image $golang ca-certificates gcc libc6-dev
	say "adding $(go env GOVERSION) to $golang"
	container=$(docker create $golang true)
	trap 'docker rm "$container" >/dev/null' EXIT
	docker cp --quiet "$(go env GOROOT)/." "$container:/usr/local/go" >/dev/null
	# Where a proxy with a certificate of its own stands before the network, building has to trust it as
	# this machine does. The server's image does not get this.
	docker cp --quiet --follow-link "${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}" "$container:/etc/ssl/certs/ca-certificates.crt" >/dev/null
	docker commit "$container" $golang >/dev/null
fi
printf '%s %s\n' "--build-arg GO_IMAGE=$golang" "--build-arg BASE_IMAGE=$base"
