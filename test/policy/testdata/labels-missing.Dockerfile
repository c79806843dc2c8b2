# expect: deny_labels_required:2 deny_labels_required:2
FROM example.com/base:1
LABEL org.opencontainers.image.title=x
USER 65532:65532
