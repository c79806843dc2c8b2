# Static binaries on nothing at all. `make binaries` builds them for both architectures first:
#   make binaries && docker buildx build --platform linux/amd64,linux/arm64 --target operator .
FROM scratch AS worker
ARG TARGETARCH
COPY bin/linux-${TARGETARCH}/worker /worker
USER 65532:65532
ENTRYPOINT ["/worker"]

FROM scratch AS operator
ARG TARGETARCH
COPY bin/linux-${TARGETARCH}/operator /operator
USER 65532:65532
ENTRYPOINT ["/operator"]
