# expect: nothing
ARG V
FROM --platform=$BUILDPLATFORM example.com/$TARGETARCH:${V:-1}
LABEL org.opencontainers.image.title="x" org.opencontainers.image.description="x" org.opencontainers.image.source="https://example.com/x"
USER 65532:65532
