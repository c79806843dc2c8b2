# expect: nothing
FROM example.com/base:1
LABEL org.opencontainers.image.title="x" org.opencontainers.image.description="x" org.opencontainers.image.source="https://example.com/x"
RUN apk add --no-cache x && apk --no-cache add y
USER 65532:65532
