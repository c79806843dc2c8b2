# expect: nothing
FROM example.com/base:1
LABEL org.opencontainers.image.title="x" org.opencontainers.image.description="x" org.opencontainers.image.source="https://example.com/x"
RUN set -eux; \
  apt-get update; \
  # why
  apt-get install -y --no-install-recommends \
    x; \
  apt-get clean; \
  rm -rf /var/lib/apt/lists/* /tmp/*
USER 65532:65532
