# expect: nothing
FROM example.com/go:1 AS runtime
LABEL org.opencontainers.image.title="x" org.opencontainers.image.description="x" org.opencontainers.image.source="https://example.com/x"
USER 65532:65532
FROM RunTime
