# expect: deny_user_root:6
# data: {"build_args":{"UID":"0"}}
FROM example.com/base:1
LABEL org.opencontainers.image.title="x" org.opencontainers.image.description="x" org.opencontainers.image.source="https://example.com/x"
ARG UID=65532
USER ${UID}
