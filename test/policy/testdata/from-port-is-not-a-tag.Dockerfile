# expect: warn_from_latest:2
FROM registry.example.com:5000/alpine
LABEL org.opencontainers.image.title="x" org.opencontainers.image.description="x" org.opencontainers.image.source="https://example.com/x"
USER 65532:65532
