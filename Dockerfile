# Static binaries on nothing at all. `make binaries` builds them for both architectures first:
#   make binaries && docker buildx build --platform linux/amd64,linux/arm64 --target operator .
FROM scratch AS worker
ARG TARGETARCH
COPY bin/linux-${TARGETARCH}/worker /worker
# Of every platform, because a node may run the others through emulation. They are compressed, so that an image has
# no program for another machine.
COPY bin/linux-amd64/probe.gz /probes/probe-linux-amd64.gz
COPY bin/linux-arm64/probe.gz /probes/probe-linux-arm64.gz
USER 65532:65532
ENTRYPOINT ["/worker"]

FROM scratch AS operator
ARG TARGETARCH
COPY bin/linux-${TARGETARCH}/operator /operator
USER 65532:65532
ENTRYPOINT ["/operator"]
