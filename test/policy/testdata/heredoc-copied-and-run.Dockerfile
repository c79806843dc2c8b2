# expect: warn_apk_no_cache:8 warn_apt_get_cleanup:8
FROM example.com/base:1
LABEL org.opencontainers.image.title="x" org.opencontainers.image.description="x" org.opencontainers.image.source="https://example.com/x"
COPY --chmod=755 <<EOF /usr/local/bin/setup
#!/bin/sh
apk add x
EOF
RUN setup
USER 65532:65532
