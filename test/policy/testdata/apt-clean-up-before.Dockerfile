# expect: warn_apt_get_cleanup:4
FROM example.com/base:1
LABEL org.opencontainers.image.title="x" org.opencontainers.image.description="x" org.opencontainers.image.source="https://example.com/x"
RUN rm -rf /var/lib/apt/lists/* && apt-get update && apt-get install -y x
USER 65532:65532
