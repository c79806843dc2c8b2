# expect: deny_add:3
FROM example.com/go:1 AS a
add https://example.com/x.tar.gz \
  /x
FROM example.com/base:1
LABEL org.opencontainers.image.title="x" org.opencontainers.image.description="x" org.opencontainers.image.source="https://example.com/x"
USER 65532:65532
