# expect: warn_apt_get_cleanup:5
FROM example.com/base:1
LABEL org.opencontainers.image.title="x" org.opencontainers.image.description="x" org.opencontainers.image.source="https://example.com/x"
ENV A=1
RUN ${A:+apt-get} install x
USER 65532:65532
