package imagepolicy

type matcher struct{}
