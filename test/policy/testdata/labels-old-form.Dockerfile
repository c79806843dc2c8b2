# expect: nothing
FROM example.com/base:1
LABEL org.opencontainers.image.title x y
LABEL org.opencontainers.image.description x
LABEL org.opencontainers.image.source x
USER 65532:65532
