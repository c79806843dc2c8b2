# expect: deny_labels_required:4 deny_labels_required:4 deny_labels_required:4
FROM example.com/base:1 AS a
LABEL org.opencontainers.image.title="x" org.opencontainers.image.description="x" org.opencontainers.image.source="https://example.com/x"
FROM example.com/base:1
USER 65532:65532
