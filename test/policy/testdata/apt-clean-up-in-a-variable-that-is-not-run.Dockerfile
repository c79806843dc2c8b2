# expect: warn_apt_get_cleanup:5
FROM example.com/base:1
LABEL org.opencontainers.image.title="x" org.opencontainers.image.description="x" org.opencontainers.image.source="https://example.com/x"
ENV X="&& rm -rf /var/lib/apt/lists/*"
RUN apt-get update && apt-get install -y x $X
USER 65532:65532
