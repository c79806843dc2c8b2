# expect: deny_user_root:4
ARG BASE=Build
FROM example.com/go:1 AS build
USER root
FROM ${BASE}
LABEL org.opencontainers.image.title="x" org.opencontainers.image.description="x" org.opencontainers.image.source="https://example.com/x"
