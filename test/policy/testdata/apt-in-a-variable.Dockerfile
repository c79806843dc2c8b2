# expect: warn_apt_get_cleanup:6
FROM example.com/base:1
LABEL org.opencontainers.image.title="x" org.opencontainers.image.description="x" org.opencontainers.image.source="https://example.com/x"
ARG TOOL=apt-get
ENV DO="$TOOL install -y"
RUN $DO x
USER 65532:65532
