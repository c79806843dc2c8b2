# expect: deny_user_root:6
FROM example.com/base:1 AS a
ARG UID=0
FROM a
LABEL org.opencontainers.image.title="x" org.opencontainers.image.description="x" org.opencontainers.image.source="https://example.com/x"
USER ${UID:-65532}
