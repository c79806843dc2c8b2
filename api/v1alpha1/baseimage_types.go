package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// BuildRequestedAtAnnotation asks for a build: each new value, customarily the time in RFC 3339,
// starts one.
const BuildRequestedAtAnnotation = "basewright.dev/build-requested-at"

// BaseImageSpec is what a platform team wants of a base image.
//
// +kubebuilder:validation:XValidation:rule="!has(self.source.inline) || !has(self.dockerfile) || self.dockerfile == 'Dockerfile'",message="must be Dockerfile for an inline source",fieldPath=".dockerfile",reason=FieldValueInvalid
// +kubebuilder:validation:XValidation:rule="!has(self.scan) || !has(self.scan.github) || has(self.source.git)",message="needs a git source: code scanning shows findings at a commit",fieldPath=".scan.github",reason=FieldValueForbidden
type BaseImageSpec struct {
	// source of the Dockerfile and its build context.
	//
	// +required
	Source Source `json:"source"`

	// dockerfile is the path of the Dockerfile in the build context, or the key of the ConfigMap.
	// Default: Dockerfile.
	//
	// +optional
	// +kubebuilder:default=Dockerfile
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	// +kubebuilder:validation:XValidation:rule="!self.startsWith('/') && !self.split('/').exists(s, s == '..')",message="must be a relative path without '..'",reason=FieldValueInvalid
	Dockerfile string `json:"dockerfile,omitempty"`

	// target is the stage to build. Default: the last one.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9][A-Za-z0-9._-]*$`
	Target string `json:"target,omitempty"`

	// buildArgs are values of the Dockerfile's ARGs.
	//
	// +optional
	// +kubebuilder:validation:MaxItems=64
	// +listType=map
	// +listMapKey=name
	BuildArgs []BuildArg `json:"buildArgs,omitempty"`

	// platforms to build for. Default: linux/amd64 and linux/arm64.
	//
	// +optional
	// +kubebuilder:default={{platform: "linux/amd64"}, {platform: "linux/arm64"}}
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=2
	// +listType=map
	// +listMapKey=platform
	Platforms []PlatformBuild `json:"platforms,omitempty"`

	// output is where the image is published.
	//
	// +required
	Output Output `json:"output"`

	// upstream is about the images that the Dockerfile starts from.
	//
	// +optional
	// +kubebuilder:default={refresh: Always}
	Upstream UpstreamPolicy `json:"upstream,omitzero"`

	// dockerfilePolicy says what the Dockerfile must be like.
	//
	// +optional
	DockerfilePolicy DockerfilePolicy `json:"dockerfilePolicy,omitzero"`

	// scan says which vulnerabilities refuse the image.
	//
	// +optional
	Scan ScanPolicy `json:"scan,omitzero"`

	// tests says what the image must be like, and what it must be able to do.
	//
	// +optional
	Tests TestPolicy `json:"tests,omitzero"`

	// schedule of rebuilds in cron format with five fields, or @daily, @weekly and the like
	// (https://pkg.go.dev/github.com/robfig/cron/v3). Default: Sundays at midnight.
	//
	// +optional
	// +kubebuilder:default="0 0 * * 0"
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule="!self.contains('TZ=')",message="must not contain a time zone: use spec.timeZone",reason=FieldValueInvalid
	Schedule string `json:"schedule,omitempty"`

	// timeZone of schedule, a name of the IANA database. Default: UTC.
	//
	// +optional
	// +kubebuilder:default=UTC
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	TimeZone string `json:"timeZone,omitempty"`

	// jitter is the longest time by which a scheduled build is delayed; the delay of one object
	// is always the same. Default: the operator's, 30m unless it is configured otherwise.
	//
	// +optional
	// +kubebuilder:validation:XValidation:rule="size(self) <= 32 && duration(self) >= duration('0s') && duration(self) <= duration('24h')",message="must be between 0s and 24h",reason=FieldValueInvalid
	Jitter *metav1.Duration `json:"jitter,omitempty"`

	// startingDeadline is how late a missed scheduled build may still start; later ones are
	// left out. However many were missed, one build makes up for them. Default: the operator's, 24h unless it is
	// configured otherwise.
	//
	// +optional
	// +kubebuilder:validation:XValidation:rule="size(self) <= 32 && duration(self) >= duration('1m') && duration(self) <= duration('168h')",message="must be between 1m and 168h",reason=FieldValueInvalid
	StartingDeadline *metav1.Duration `json:"startingDeadline,omitempty"`

	// suspend keeps new builds from starting, and sources and upstreams from being polled; a running build goes
	// on. Default: false.
	//
	// +optional
	Suspend bool `json:"suspend,omitempty"`

	// timeout of a whole build, from its start; waiting in the queue does not count. Default: the operator's, 1h unless
	// it is configured otherwise.
	//
	// +optional
	// +kubebuilder:validation:XValidation:rule="size(self) <= 32 && duration(self) >= duration('1m') && duration(self) <= duration('24h')",message="must be between 1m and 24h",reason=FieldValueInvalid
	Timeout *metav1.Duration `json:"timeout,omitempty"`

	// retries is how often a build that failed for a cause which may pass, such as an evicted pod, is attempted
	// again: after 1, 4, 16 and then every 60 minutes. Default: the operator's, 3 unless it is configured otherwise.
	//
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=10
	Retries *int32 `json:"retries,omitempty"`

	// history says how many finished builds are kept.
	//
	// +optional
	// +kubebuilder:default={successful: 3, failed: 3}
	History History `json:"history,omitzero"`
}

// History is the number of finished builds that are kept, the newest first.
type History struct {
	// successful builds that are kept. Default: 3.
	//
	// +optional
	// +kubebuilder:default=3
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	Successful *int32 `json:"successful,omitempty"`

	// failed builds that are kept; superseded ones count as failed. Default: 3.
	//
	// +optional
	// +kubebuilder:default=3
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	Failed *int32 `json:"failed,omitempty"`
}

// BaseImageStatus is what is known of a base image.
type BaseImageStatus struct {
	// observedGeneration is the generation that this status describes.
	//
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// conditions: Ready, Resolved, and while they are true Reconciling and Stalled
	// (https://github.com/kubernetes-sigs/cli-utils/blob/master/pkg/kstatus/README.md).
	//
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// image is the last one that was promoted. It stays when a later build fails.
	//
	// +optional
	Image *PromotedImage `json:"image,omitempty"`

	// latestBuild is the newest build, running or finished.
	//
	// +optional
	LatestBuild *BuildSummary `json:"latestBuild,omitempty"`

	// observedSchedule is what nextBuild was computed from: schedule, time zone, and this object's delay.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=256
	ObservedSchedule string `json:"observedSchedule,omitempty"`

	// nextBuild is when the next build starts if nothing changes before, in RFC 3339: by the schedule, or to retry one
	// that failed; empty while suspended.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=64
	NextBuild string `json:"nextBuild,omitempty"`

	// nextBuildReason is Scheduled or Retried.
	//
	// +optional
	NextBuildReason BuildReasonType `json:"nextBuildReason,omitempty"`
}

// PromotedImage is an image that tags point to.
type PromotedImage struct {
	// reference of the index by digest: repository@sha256:….
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Reference string `json:"reference"`

	// digest of the index.
	//
	// +required
	// +kubebuilder:validation:MinLength=71
	// +kubebuilder:validation:MaxLength=71
	Digest string `json:"digest"`

	// shortDigest is the first twelve hexadecimal digits of digest, for people.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=12
	ShortDigest string `json:"shortDigest,omitempty"`

	// repository it was pushed to.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	Repository string `json:"repository"`

	// tags that were moved to it.
	//
	// +optional
	// +kubebuilder:validation:MaxItems=16
	// +listType=set
	Tags []Tag `json:"tags,omitempty"`

	// platforms of the index.
	//
	// +optional
	// +kubebuilder:validation:MaxItems=2
	// +listType=map
	// +listMapKey=platform
	Platforms []PlatformImage `json:"platforms,omitempty"`

	// architectures of the platforms for people: amd64,arm64.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Architectures string `json:"architectures,omitempty"`

	// size of the largest platform's compressed layers for people, for example 2.1 MB.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=32
	Size string `json:"size,omitempty"`

	// revision of the source it was built from: a git commit, or the digest of the files.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=128
	Revision string `json:"revision,omitempty"`

	// build is the name of the BaseImageBuild that made it.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=63
	Build string `json:"build,omitempty"`

	// vulnerabilities by severity; not set where there was nothing to judge: no packages, or none that a scanner knows.
	//
	// +optional
	Vulnerabilities *VulnerabilityCounts `json:"vulnerabilities,omitempty"`

	// packages of the platform that has the most; 0 means that the scanners found nothing that they could judge.
	//
	// +optional
	// +kubebuilder:validation:Minimum=0
	Packages *int32 `json:"packages,omitempty"`

	// tests for people: platforms whose runtime tests passed, of all, for example 2/2 or 1/2, 1 skipped.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Tests string `json:"tests,omitempty"`

	// signature of the index, as it was read back and verified before the tags moved; not set on images that were
	// promoted before the operator signed any.
	//
	// +optional
	Signature *ImageSignature `json:"signature,omitempty"`

	// reports on each platform: SBOMs and scans.
	//
	// +optional
	// +kubebuilder:validation:MaxItems=2
	// +listType=map
	// +listMapKey=platform
	Reports []PlatformReports `json:"reports,omitempty"`

	// builtAt is when that build finished.
	//
	// +optional
	BuiltAt *metav1.Time `json:"builtAt,omitempty"`
}

// BuildSummary is what the BaseImage remembers of its newest build.
type BuildSummary struct {
	// name of the BaseImageBuild.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name"`

	// attempt counts the builds of this BaseImage from 1.
	//
	// +required
	// +kubebuilder:validation:Minimum=1
	Attempt int64 `json:"attempt"`

	// reason is why it was started: the types of its reasons, separated by commas.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Reason string `json:"reason,omitempty"`

	// because says what had changed, with old and new values, in words.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Because string `json:"because,omitempty"`

	// inputs are what later inputs are compared with.
	//
	// +optional
	Inputs BuildInputs `json:"inputs,omitzero"`

	// createdAt is when it was created.
	//
	// +optional
	CreatedAt *metav1.Time `json:"createdAt,omitempty"`

	// phase it is in.
	//
	// +optional
	Phase BuildPhase `json:"phase,omitempty"`
}

// BaseImage keeps a container base image built, published and fresh.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=bi,categories=basewright
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 63 && !self.metadata.name.contains('.')",message="metadata.name must have at most 63 characters and no dots: it becomes part of the names of Jobs and labels",reason=FieldValueInvalid
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Digest",type=string,JSONPath=`.status.image.shortDigest`
// +kubebuilder:printcolumn:name="Platforms",type=string,JSONPath=`.status.image.architectures`
// +kubebuilder:printcolumn:name="Critical",type=integer,JSONPath=`.status.image.vulnerabilities.critical`
// +kubebuilder:printcolumn:name="Signed",type=date,JSONPath=`.status.image.signature.signedAt`
// +kubebuilder:printcolumn:name="Last Built",type=date,JSONPath=`.status.image.builtAt`
// +kubebuilder:printcolumn:name="Next Build",type=string,JSONPath=`.status.nextBuild`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Repository",type=string,priority=1,JSONPath=`.spec.output.repository`
// +kubebuilder:printcolumn:name="Resolved",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Resolved")].status`
// +kubebuilder:printcolumn:name="Size",type=string,priority=1,JSONPath=`.status.image.size`
// +kubebuilder:printcolumn:name="High",type=integer,priority=1,JSONPath=`.status.image.vulnerabilities.high`
// +kubebuilder:printcolumn:name="Packages",type=integer,priority=1,JSONPath=`.status.image.packages`
// +kubebuilder:printcolumn:name="Tests",type=string,priority=1,JSONPath=`.status.image.tests`
// +kubebuilder:printcolumn:name="Build Reason",type=string,priority=1,JSONPath=`.status.latestBuild.reason`
type BaseImage struct {
	metav1.TypeMeta `json:",inline"`

	// metadata of the object.
	//
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec is what is wanted.
	//
	// +required
	Spec BaseImageSpec `json:"spec"`

	// status is what is known.
	//
	// +optional
	Status BaseImageStatus `json:"status,omitzero"`
}

// BaseImageList is a list of BaseImages.
//
// +kubebuilder:object:root=true
type BaseImageList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []BaseImage `json:"items"`
}
