# expect: deny_add:4
FROM example.com/base:1
LABEL org.opencontainers.image.title="x" org.opencontainers.image.description="x" org.opencontainers.image.source="https://example.com/x"
ONBUILD ADD a b
USER 65532:65532
