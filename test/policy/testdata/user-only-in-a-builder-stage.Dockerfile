# expect: deny_user_required:4
FROM example.com/go:1 AS build
USER 65532
FROM example.com/base:1
LABEL org.opencontainers.image.title="x" org.opencontainers.image.description="x" org.opencontainers.image.source="https://example.com/x"
