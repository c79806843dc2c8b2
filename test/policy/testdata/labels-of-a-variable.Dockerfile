# expect: nothing
FROM example.com/base:1
ARG T=x
LABEL org.opencontainers.image.title=$T org.opencontainers.image.description="${T} \"y\"" \
  # a comment
  "org.opencontainers.image.source"=$T
USER 65532:65532
