package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// BuildReasonType is why a build was started.
//
// +kubebuilder:validation:Enum=SpecChanged;SourceChanged;UpstreamChanged;Scheduled;Requested;Retried;CredentialsChanged;BuildDeleted;PolicyChanged
type BuildReasonType string

const (
	// BuildReasonSpecChanged means: the spec is new or builds something else than before.
	BuildReasonSpecChanged BuildReasonType = "SpecChanged"
	// BuildReasonSourceChanged means: the source has another revision.
	BuildReasonSourceChanged BuildReasonType = "SourceChanged"
	// BuildReasonUpstreamChanged means: an image that the Dockerfile starts from has another digest.
	BuildReasonUpstreamChanged BuildReasonType = "UpstreamChanged"
	// BuildReasonScheduled means: the schedule was due.
	BuildReasonScheduled BuildReasonType = "Scheduled"
	// BuildReasonRequested means: the annotation basewright.dev/build-requested-at has a new value.
	BuildReasonRequested BuildReasonType = "Requested"
	// BuildReasonRetried means: the newest build failed for a cause that may have passed.
	BuildReasonRetried BuildReasonType = "Retried"
	// BuildReasonCredentialsChanged means: the newest build was refused by a registry, and the push Secret has changed.
	BuildReasonCredentialsChanged BuildReasonType = "CredentialsChanged"
	// BuildReasonBuildDeleted means: somebody has deleted the newest build before it had ended.
	BuildReasonBuildDeleted BuildReasonType = "BuildDeleted"
	// BuildReasonPolicyChanged means: spec.dockerfilePolicy, spec.scan or spec.tests, or a ConfigMap that they name, has
	// changed.
	BuildReasonPolicyChanged BuildReasonType = "PolicyChanged"
)

// BuildReason is one reason with what changed.
type BuildReason struct {
	// type of the reason.
	//
	// +required
	Type BuildReasonType `json:"type"`

	// old value; empty for the first build.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Old string `json:"old,omitempty"`

	// new value.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	New string `json:"new,omitempty"`
}

// BuildInputs identify what a build was made from.
type BuildInputs struct {
	// spec is a digest of the fields of the BaseImage that decide what is built.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=71
	Spec string `json:"spec,omitempty"`

	// revision of the source: a git commit of 40 hexadecimal digits, or sha256:… over the files.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=128
	Revision string `json:"revision,omitempty"`

	// upstream is a digest over the digests of all external images.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=71
	Upstream string `json:"upstream,omitempty"`

	// policy is a digest of spec.dockerfilePolicy, spec.scan and spec.tests; empty if none is set.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=71
	Policy string `json:"policy,omitempty"`

	// rules is a digest of the ConfigMap of spec.dockerfilePolicy.extraRules; empty without one.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=71
	Rules string `json:"rules,omitempty"`

	// vex is a digest of the ConfigMap of spec.scan.vexRef; empty without one.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=71
	VEX string `json:"vex,omitempty"`

	// scheduledFor is the time of the schedule that the build was for, in RFC 3339.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=64
	ScheduledFor string `json:"scheduledFor,omitempty"`

	// requestedAt is the value of the annotation basewright.dev/build-requested-at.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=256
	RequestedAt string `json:"requestedAt,omitempty"`

	// pushSecret is a digest over the UID and the resource version of the push Secret, so that a build which was
	// refused is repeated when the Secret is mended. It starts no build otherwise.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=71
	PushSecret string `json:"pushSecret,omitempty"`
}

// ResolvedUpstream is an external image of the Dockerfile at the time of the build.
type ResolvedUpstream struct {
	// ref as the Dockerfile has it, with ARGs expanded.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Ref string `json:"ref"`

	// name is the full name with registry and tag.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Name string `json:"name"`

	// digest that is used.
	//
	// +required
	// +kubebuilder:validation:MinLength=71
	// +kubebuilder:validation:MaxLength=71
	Digest string `json:"digest"`

	// pull is where the build gets it: a mirror or its own registry, by digest.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Pull string `json:"pull"`
}

// BaseImageBuildSpec is one attempt with its inputs resolved. It never changes.
type BaseImageBuildSpec struct {
	// baseImage is the name of the BaseImage that is built.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	BaseImage string `json:"baseImage"`

	// attempt counts the builds of the BaseImage from 1.
	//
	// +required
	// +kubebuilder:validation:Minimum=1
	Attempt int64 `json:"attempt"`

	// reasons for the build.
	//
	// +required
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +listType=atomic
	Reasons []BuildReason `json:"reasons"`

	// reason is the types of reasons for people, separated by commas.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Reason string `json:"reason"`

	// retry counts the attempts after one that failed for a cause which may pass: 0 for the first attempt, 1 for the
	// first retry. See spec.retries of the BaseImage.
	//
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=10
	Retry int32 `json:"retry,omitempty"`

	// supersedes names the build that this one takes the place of: it is cancelled.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=63
	Supersedes string `json:"supersedes,omitempty"`

	// inputs identify what is built.
	//
	// +required
	Inputs BuildInputs `json:"inputs"`

	// source as the BaseImage had it; inputs.revision is what it was resolved to.
	//
	// +required
	Source Source `json:"source"`

	// sourceTime is when the source was last changed: the commit's time for git, else the creation of
	// the object that holds the files. The image is dated with it, so that the same inputs give
	// the same digest.
	//
	// +required
	SourceTime metav1.Time `json:"sourceTime"`

	// dockerfile is the content of the Dockerfile before references were replaced by digests.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=131072
	Dockerfile string `json:"dockerfile"`

	// dockerfilePath is where the Dockerfile is in the build context.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	DockerfilePath string `json:"dockerfilePath"`

	// target is the stage to build. Default: the last one.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	Target string `json:"target,omitempty"`

	// buildArgs are values of the Dockerfile's ARGs.
	//
	// +optional
	// +kubebuilder:validation:MaxItems=64
	// +listType=map
	// +listMapKey=name
	BuildArgs []BuildArg `json:"buildArgs,omitempty"`

	// upstreams are the external images of the Dockerfile, resolved.
	//
	// +optional
	// +kubebuilder:validation:MaxItems=128
	// +listType=atomic
	Upstreams []ResolvedUpstream `json:"upstreams,omitempty"`

	// platforms to build for.
	//
	// +required
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=2
	// +listType=map
	// +listMapKey=platform
	Platforms []PlatformBuild `json:"platforms"`

	// output is where the image is published.
	//
	// +required
	Output Output `json:"output"`

	// dockerfilePolicy as the BaseImage had it.
	//
	// +optional
	DockerfilePolicy DockerfilePolicy `json:"dockerfilePolicy,omitzero"`

	// scan as the BaseImage had it.
	//
	// +optional
	Scan ScanPolicy `json:"scan,omitzero"`

	// tests as the BaseImage had it.
	//
	// +optional
	Tests TestPolicy `json:"tests,omitzero"`

	// timeout of the whole build, from its start; waiting in the queue does not count.
	//
	// +required
	// +kubebuilder:validation:XValidation:rule="size(self) <= 32 && duration(self) >= duration('1m') && duration(self) <= duration('24h')",message="must be between 1m and 24h",reason=FieldValueInvalid
	Timeout metav1.Duration `json:"timeout"`
}

// BuildPhase is how far a build has come.
//
// +kubebuilder:validation:Enum=Queued;Checking;Building;Indexing;Inspecting;Scanning;Testing;Attesting;Signing;Verifying;Promoting;Succeeded;Failed;Superseded
type BuildPhase string

const (
	// PhaseQueued means: it waits for a slot, or for the build that it supersedes to end.
	PhaseQueued BuildPhase = "Queued"
	// PhaseChecking means: the Dockerfile policy looks at the Dockerfile.
	PhaseChecking BuildPhase = "Checking"
	// PhaseBuilding means: a Job runs for each platform.
	PhaseBuilding BuildPhase = "Building"
	// PhaseIndexing means: what was pushed is read back and checked, the index is assembled.
	PhaseIndexing BuildPhase = "Indexing"
	// PhaseInspecting means: the file system of each platform is checked.
	PhaseInspecting BuildPhase = "Inspecting"
	// PhaseScanning means: a Job makes SBOMs and looks for vulnerabilities.
	PhaseScanning BuildPhase = "Scanning"
	// PhaseTesting means: a pod of the image runs for each platform.
	PhaseTesting BuildPhase = "Testing"
	// PhaseAttesting means: provenance, SBOMs, scans and tests are signed as attestations.
	PhaseAttesting BuildPhase = "Attesting"
	// PhaseSigning means: the index and each platform are signed.
	PhaseSigning BuildPhase = "Signing"
	// PhaseVerifying means: all signatures and attestations are read back and verified.
	PhaseVerifying BuildPhase = "Verifying"
	// PhasePromoting means: the tags are moved.
	PhasePromoting BuildPhase = "Promoting"
	// PhaseSucceeded means: the tags point to the new index. Final.
	PhaseSucceeded BuildPhase = "Succeeded"
	// PhaseFailed means: the build ended; a tag may have moved only if a later one was refused. Final.
	PhaseFailed BuildPhase = "Failed"
	// PhaseSuperseded means: the build was cancelled because a newer one has newer inputs. Final.
	PhaseSuperseded BuildPhase = "Superseded"
)

// PlatformImage is what was built for one platform.
type PlatformImage struct {
	// platform in OCI form.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	Platform string `json:"platform"`

	// digest of the platform's manifest.
	//
	// +required
	// +kubebuilder:validation:MinLength=71
	// +kubebuilder:validation:MaxLength=71
	Digest string `json:"digest"`

	// size of the compressed layers in bytes.
	//
	// +optional
	// +kubebuilder:validation:Minimum=0
	Size int64 `json:"size,omitempty"`
}

// BaseImageBuildStatus is the evidence of a build.
type BaseImageBuildStatus struct {
	// conditions: one for each phase (DockerfilePolicyPassed, Built, Indexed, Inspected, ScanPassed, TestsPassed,
	// Attested, Signed, Verified, Promoted), Succeeded for the whole, SARIFUploaded where it was asked for, and while they are true Reconciling and
	// Stalled.
	//
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// observedGeneration is the generation that this status describes.
	//
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// phase it is in.
	//
	// +optional
	Phase BuildPhase `json:"phase,omitempty"`

	// queuePosition is the place in the operator's queue, counted from 1, while phase is Queued. Places after the
	// tenth are rounded up.
	//
	// +optional
	// +kubebuilder:validation:Minimum=1
	QueuePosition *int32 `json:"queuePosition,omitempty"`

	// startedAt is when it left the queue; its timeout counts from here.
	//
	// +optional
	StartedAt *metav1.Time `json:"startedAt,omitempty"`

	// retryable says of a failed build that its cause may pass.
	//
	// +optional
	Retryable bool `json:"retryable,omitempty"`

	// platforms that were built and checked.
	//
	// +optional
	// +kubebuilder:validation:MaxItems=2
	// +listType=map
	// +listMapKey=platform
	Platforms []PlatformImage `json:"platforms,omitempty"`

	// digest of the index.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=71
	Digest string `json:"digest,omitempty"`

	// dockerfilePolicy is what the Dockerfile policy found.
	//
	// +optional
	DockerfilePolicy *PolicyResult `json:"dockerfilePolicy,omitempty"`

	// scan is what the scanners found.
	//
	// +optional
	Scan *ScanResult `json:"scan,omitempty"`

	// tests is what the runtime tests found.
	//
	// +optional
	Tests *TestResult `json:"tests,omitempty"`

	// signature is what was read back from the registry and verified.
	//
	// +optional
	Signature *ImageSignature `json:"signature,omitempty"`

	// codeScanning is how far the upload to GitHub has come.
	//
	// +optional
	CodeScanning *CodeScanningUpload `json:"codeScanning,omitempty"`

	// completedAt is when it succeeded, failed or was superseded.
	//
	// +optional
	CompletedAt *metav1.Time `json:"completedAt,omitempty"`

	// duration from start to completion for people, for example 1m12s.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=32
	Duration string `json:"duration,omitempty"`
}

// BaseImageBuild is one attempt to build a BaseImage. The operator creates it; its spec never changes.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=bib,categories=basewright
// +kubebuilder:validation:XValidation:rule="self.spec == oldSelf.spec",message="is immutable: to build again, annotate the BaseImage with basewright.dev/build-requested-at",fieldPath=".spec",reason=FieldValueInvalid
// +kubebuilder:printcolumn:name="Base Image",type=string,JSONPath=`.spec.baseImage`
// +kubebuilder:printcolumn:name="Attempt",type=integer,JSONPath=`.spec.attempt`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.spec.reason`
// +kubebuilder:printcolumn:name="Phase",type=string,JSONPath=`.status.phase`
// +kubebuilder:printcolumn:name="Queue",type=integer,JSONPath=`.status.queuePosition`
// +kubebuilder:printcolumn:name="Duration",type=string,JSONPath=`.status.duration`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Succeeded")].message`
type BaseImageBuild struct {
	metav1.TypeMeta `json:",inline"`

	// metadata of the object.
	//
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec is what is built.
	//
	// +required
	Spec BaseImageBuildSpec `json:"spec"`

	// status is how far it has come, with the evidence.
	//
	// +optional
	Status BaseImageBuildStatus `json:"status,omitzero"`
}

// BaseImageBuildList is a list of BaseImageBuilds.
//
// +kubebuilder:object:root=true
type BaseImageBuildList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []BaseImageBuild `json:"items"`
}
