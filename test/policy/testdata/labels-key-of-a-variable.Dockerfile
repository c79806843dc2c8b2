# expect: nothing
FROM example.com/base:1
ARG P=org.opencontainers.image
LABEL $P.title=x ${P}.description=y $P.source=z
USER 65532:65532
