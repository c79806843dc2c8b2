# expect: warn_apt_get_cleanup:3
FROM example.com/debian:13 AS a
RUN apt-get update && apt-get install -y x
FROM a
LABEL org.opencontainers.image.title="x" org.opencontainers.image.description="x" org.opencontainers.image.source="https://example.com/x"
USER 65532:65532
