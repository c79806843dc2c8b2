# expect: warn_from_latest:4
FROM example.com/base:1
LABEL org.opencontainers.image.title="x" org.opencontainers.image.description="x" org.opencontainers.image.source="https://example.com/x"
COPY --from=busybox /bin/sh /x
COPY --from=busybox:1 /bin/sh /x
USER 65532:65532
