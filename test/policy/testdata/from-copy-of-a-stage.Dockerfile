# expect: nothing
FROM example.com/go:1 AS a
FROM example.com/base:1
LABEL org.opencontainers.image.title="x" org.opencontainers.image.description="x" org.opencontainers.image.source="https://example.com/x"
COPY --from=A /x /x
COPY --from=0 /x /x
USER 65532:65532
