# expect: deny_labels_required:4 deny_labels_required:4
FROM example.com/base:1
LABEL org.opencontainers.image.title="x" org.opencontainers.image.description="x" org.opencontainers.image.source="https://example.com/x"
LABEL org.opencontainers.image.title="" "org.opencontainers.image.source"=' '
USER 65532:65532
