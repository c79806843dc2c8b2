# expect: nothing
FROM example.com/base:1
LABEL org.opencontainers.image.title="x" org.opencontainers.image.description="x" org.opencontainers.image.source="https://example.com/x"
ARG A=655
ENV B=${A}32
ENV C="$B"
USER '65532'
USER "${C}"
