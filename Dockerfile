# Static binaries on nothing at all. `make binaries` builds them for both architectures first:
#   make binaries && docker buildx build --platform linux/amd64,linux/arm64 --target operator .
FROM scratch AS worker
LABEL org.opencontainers.image.title="basewright-worker" \
      org.opencontainers.image.description="Fetches, pushes, scans and tests for the Basewright operator" \
      org.opencontainers.image.source="https://github.com/ibshafique/base-images" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY images/base/scratch-plus/passwd images/base/scratch-plus/group /etc/
ARG TARGETARCH
COPY bin/linux-${TARGETARCH}/worker /worker
# Of every platform, because a node may run the others through emulation. They are compressed, so that an image has
# no program for another machine.
COPY bin/linux-amd64/probe.gz /probes/probe-linux-amd64.gz
COPY bin/linux-arm64/probe.gz /probes/probe-linux-arm64.gz
USER 65532:65532
ENTRYPOINT ["/worker"]

FROM scratch AS operator
LABEL org.opencontainers.image.title="basewright-operator" \
      org.opencontainers.image.description="Keeps container base images built, tested and fresh" \
      org.opencontainers.image.source="https://github.com/ibshafique/base-images" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY images/base/scratch-plus/passwd images/base/scratch-plus/group /etc/
ARG TARGETARCH
COPY bin/linux-${TARGETARCH}/operator /operator
USER 65532:65532
ENTRYPOINT ["/operator"]

FROM scratch AS webhook
LABEL org.opencontainers.image.title="basewright-webhook" \
      org.opencontainers.image.description="Lets pods start only if their images verify and their settings are safe" \
      org.opencontainers.image.source="https://github.com/ibshafique/base-images" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY images/base/scratch-plus/passwd images/base/scratch-plus/group /etc/
ARG TARGETARCH
COPY bin/linux-${TARGETARCH}/webhook /webhook
USER 65532:65532
ENTRYPOINT ["/webhook"]
