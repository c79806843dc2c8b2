# expect: nothing
FROM example.com/base:1
LABEL org.opencontainers.image.title="x" org.opencontainers.image.description="x" org.opencontainers.image.source="https://example.com/x"
RUN --mount=type=cache,target=/var/cache/apk apk add x
USER 65532:65532
