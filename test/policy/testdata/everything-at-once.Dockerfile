# expect: warn_from_latest:2 deny_add:3 warn_apk_no_cache:4 deny_labels_required:5 deny_labels_required:5 deny_labels_required:5 deny_user_root:6
FROM alpine AS a
ADD a /a
RUN apk add x
FROM a
USER root
