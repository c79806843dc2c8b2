module github.com/ibshafique/base-images/hack/sandbox/tools/pause

go 1.26.0
