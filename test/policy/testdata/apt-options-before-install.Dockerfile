# expect: warn_apt_get_cleanup:4
FROM example.com/base:1
LABEL org.opencontainers.image.title="x" org.opencontainers.image.description="x" org.opencontainers.image.source="https://example.com/x"
RUN DEBIAN_FRONTEND=noninteractive apt-get -y -o A::B=c install x
USER 65532:65532
