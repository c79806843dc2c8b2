package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Source says where a Dockerfile and its build context come from: exactly one of git, inline and configMapRef is set.
//
// +kubebuilder:validation:ExactlyOneOf=git;inline;configMapRef
type Source struct {
	// git is a repository, read over HTTPS or SSH.
	//
	// +optional
	Git *GitSource `json:"git,omitempty"`

	// inline holds the Dockerfile and its context in this object.
	//
	// +optional
	Inline *InlineSource `json:"inline,omitempty"`

	// configMapRef names a ConfigMap of this namespace. Each key is a file at the root of the
	// context; the Dockerfile is the key named by spec.dockerfile. All keys together hold at
	// most 512 KiB.
	//
	// +optional
	ConfigMapRef *LocalReference `json:"configMapRef,omitempty"`

	// pollInterval is how often a git repository or a ConfigMap is looked at for changes; 0s turns that off. An inline
	// source needs none. Default: the operator's, 5m unless it is configured otherwise.
	//
	// +optional
	// +kubebuilder:validation:XValidation:rule="size(self) <= 32 && (duration(self) == duration('0s') || (duration(self) >= duration('1m') && duration(self) <= duration('168h')))",message="must be 0s, or between 1m and 168h",reason=FieldValueInvalid
	PollInterval *metav1.Duration `json:"pollInterval,omitempty"`
}

// GitSource is a directory of a git repository at a ref.
//
// +kubebuilder:validation:XValidation:rule="!self.url.startsWith('ssh://') || has(self.secretRef)",message="is required for an ssh:// URL: a Secret with ssh-privatekey and known_hosts",fieldPath=".secretRef",reason=FieldValueRequired
type GitSource struct {
	// url of the repository: https://host/path without user or password, or ssh://user@host/path without password.
	//
	// +required
	// +kubebuilder:validation:MinLength=8
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:XValidation:rule="self.startsWith('https://') || self.startsWith('ssh://')",message="must start with https:// or ssh://: what is built must be what the server sent",reason=FieldValueInvalid
	// +kubebuilder:validation:XValidation:rule="!self.matches('^https://[^/]*@')",message="must not contain a user or password: the object can be read by many. Use secretRef",reason=FieldValueInvalid
	// +kubebuilder:validation:XValidation:rule="!self.startsWith('ssh://') || self.matches('^ssh://[A-Za-z0-9._-]+@[^/@]+/.+')",message="must be ssh://user@host/path, without a password",reason=FieldValueInvalid
	URL string `json:"url"`

	// ref is a branch, a tag, a full name such as refs/heads/main, or a commit of 40 hexadecimal
	// digits. Default: the repository's default branch.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9_][A-Za-z0-9._/+@#-]*$`
	Ref string `json:"ref,omitempty"`

	// path is the directory of the repository that is the build context. Default: its root.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="!self.startsWith('/') && !self.split('/').exists(s, s == '..')",message="must be a relative path without '..'",reason=FieldValueInvalid
	Path string `json:"path,omitempty"`

	// secretRef names a Secret of this namespace that may read the repository. For https:// it has username and
	// password (type kubernetes.io/basic-auth; a token is a password); for ssh:// it has ssh-privatekey (type
	// kubernetes.io/ssh-auth) and known_hosts. Default: read without credentials.
	//
	// +optional
	SecretRef *LocalReference `json:"secretRef,omitempty"`
}

// InlineSource is a Dockerfile with a small context.
type InlineSource struct {
	// dockerfile is the content of the Dockerfile.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=65536
	Dockerfile string `json:"dockerfile"`

	// files are the other files of the context: path relative to its root to text content.
	//
	// +optional
	// +kubebuilder:validation:MaxProperties=64
	// +kubebuilder:validation:XValidation:rule="self.all(p, p.size() > 0 && p.size() <= 255 && !p.startsWith('/') && !p.split('/').exists(s, s in ['', '.', '..']))",message="each key must be a relative path of at most 255 characters without '.' or '..'",reason=FieldValueInvalid
	// +kubebuilder:validation:XValidation:rule="!('Dockerfile' in self)",message="must not contain Dockerfile: it is spec.source.inline.dockerfile",reason=FieldValueInvalid
	Files map[string]FileContent `json:"files,omitempty"`
}

// FileContent is the text of one file.
//
// +kubebuilder:validation:MaxLength=65536
type FileContent string

// LocalReference names an object of the same namespace.
type LocalReference struct {
	// name of the object.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`
	Name string `json:"name"`
}
