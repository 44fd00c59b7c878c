# Drydock's server in a container.
#
# Labs run on the machine's own container engine, beside this container and not in it, so:
#   - the engine's socket is mounted, and the user is given the socket's group. Whoever can write to
#     that socket is root on the machine; the non-root user below protects from less than that.
#   - the network is the machine's (--network host): the API servers of clusters listen on the machine's
#     loopback, and Drydock does too unless --addr says otherwise.
#   - the data directory has the same path inside and outside: paths below it are handed to the engine.
#
#   sudo install -d -o 10001 -g 10001 /var/lib/drydock
#   docker build -t drydock/server .
#   docker run -d --name drydock --network host --restart unless-stopped \
#     --group-add "$(stat -c %g /var/run/docker.sock)" \
#     -v /var/run/docker.sock:/var/run/docker.sock -v /var/lib/drydock:/var/lib/drydock drydock/server
#   docker logs drydock          the one-time link for the first instructor
#
# The images of the labs are made or imported on the machine ("drydock image build", "… import"), with
# the program from this image if need be: docker run … drydock/server image import FILE.
#
# Where no registry is reached, sandbox/engine/base-images.sh makes both base images from Debian's
# packages and prints the build arguments that name them.

ARG GO_IMAGE=golang:1.26-trixie
ARG BASE_IMAGE=debian:trixie-slim

FROM ${GO_IMAGE} AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=1 go build -trimpath -tags sqlite_fts5 -ldflags "-s -w" -o /out/drydock .

FROM ${BASE_IMAGE}
# kind works through the docker command.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates docker-cli \
    && rm -rf /var/lib/apt/lists/*
RUN useradd --uid 10001 --home-dir /var/lib/drydock --create-home --shell /usr/sbin/nologin drydock
COPY --from=build /out/drydock /usr/local/bin/drydock
USER 10001:10001
WORKDIR /var/lib/drydock
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s CMD ["drydock", "healthcheck", "--data", "/var/lib/drydock"]
ENTRYPOINT ["drydock"]
CMD ["serve", "--data", "/var/lib/drydock"]
