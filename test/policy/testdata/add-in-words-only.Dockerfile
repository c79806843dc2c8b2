# expect: nothing
FROM example.com/base:1
LABEL org.opencontainers.image.title="x" org.opencontainers.image.description="x" org.opencontainers.image.source="https://example.com/x"
# ADD a b
RUN echo ADD a b
COPY <<EOF /x
ADD a b
EOF
USER 65532:65532
