# expect: nothing
# data: {"build_args":{"V":"3.23"}}
ARG V=latest
FROM alpine:${V}
LABEL org.opencontainers.image.title="x" org.opencontainers.image.description="x" org.opencontainers.image.source="https://example.com/x"
USER 65532:65532
