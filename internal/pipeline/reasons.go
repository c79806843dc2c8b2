package pipeline

// Reasons that several phases share. A reason is part of the API: it appears in
// conditions and events, and people write alerts on it.
const (
	// ReasonInternalError is a defect of the operator or an answer it did not expect.
	ReasonInternalError = "InternalError"

	ReasonUnknownPlatform = "UnknownPlatform"

	// Sources.
	ReasonSourceInvalid     = "SourceInvalid"
	ReasonSourceNotFound    = "SourceNotFound"
	ReasonSourceUnavailable = "SourceUnavailable"
	ReasonSourceDenied      = "SourceDenied"
	ReasonSourceChanged     = "SourceChanged"
	ReasonSourceTooLarge    = "SourceTooLarge"
	// ReasonGitRefNotFound: the repository has no such branch, tag, reference or commit.
	ReasonGitRefNotFound = "GitRefNotFound"
	// ReasonGitHostKeyUnknown: an SSH server showed a key that the Secret's known_hosts does not have for it.
	ReasonGitHostKeyUnknown = "GitHostKeyUnknown"
	// ReasonSourceSecretInvalid: spec.source.git.secretRef names no Secret, or one without what the URL needs.
	ReasonSourceSecretInvalid = "SourceSecretInvalid"
	// ReasonSourcePathEscapes: a path or a symbolic link leaves the build context.
	ReasonSourcePathEscapes = "SourcePathEscapes"

	// Dockerfiles.
	ReasonDockerfileNotFound = "DockerfileNotFound"
	ReasonDockerfileInvalid  = "DockerfileInvalid"
	// ReasonDockerfileArgUndefined: a FROM uses an ARG that has no value.
	ReasonDockerfileArgUndefined = "DockerfileArgUndefined"

	// Upstream images.
	ReasonUpstreamInvalid         = "UpstreamInvalid"
	ReasonUpstreamNotFound        = "UpstreamNotFound"
	ReasonUpstreamUnpinned        = "UpstreamUnpinned"
	ReasonUpstreamMissingPlatform = "UpstreamMissingPlatform"

	// Registries.

	// ReasonRegistryUnauthorized is an answer 401 to something that is read: no credentials, or wrong ones.
	ReasonRegistryUnauthorized = "RegistryUnauthorized"
	// ReasonRegistryDenied is an answer 403 to something that is read.
	ReasonRegistryDenied = "RegistryDenied"
	// ReasonPushDenied is an answer 401 or 403 to something that is written.
	ReasonPushDenied = "PushDenied"
	// ReasonRepositoryNotFound is an answer 404 to something that is written.
	ReasonRepositoryNotFound = "RepositoryNotFound"
	// ReasonRegistryThrottled is an answer 429.
	ReasonRegistryThrottled = "RegistryThrottled"
	// ReasonRegistryUnavailable is an answer 5xx, or none.
	ReasonRegistryUnavailable = "RegistryUnavailable"
	// ReasonRegistryTimeout is an answer that did not come in time.
	ReasonRegistryTimeout = "RegistryTimeout"
	// ReasonRegistryTooSlow is an answer that came in drops.
	ReasonRegistryTooSlow = "RegistryTooSlow"
	ReasonRegistryAddress = "RegistryAddressNotAllowed"
	ReasonImageNotFound   = "ImageNotFound"
	ReasonImageTooLarge   = "ImageTooLarge"
	ReasonImageInvalid    = "ImageInvalid"
	ReasonTagImmutable    = "TagImmutable"
	// ReasonRegistryRejected is an answer that calls the request itself wrong, for
	// example 400 MANIFEST_INVALID.
	ReasonRegistryRejected = "RegistryRejected"
	// ReasonRegistryCredentials is a secret that is not a docker config.
	ReasonRegistryCredentials = "RegistryCredentialsInvalid"

	// ReasonPushSecretInvalid: spec.output.pushSecretRef names no Secret, or one of another type.
	ReasonPushSecretInvalid = "PushSecretInvalid"

	// ReasonInputChanged: somebody has changed the ConfigMap that holds a build's input.
	ReasonInputChanged = "InputChanged"

	// Build pods.

	// ReasonOutOfMemory: a container of a build pod was killed because it used more than its limit.
	ReasonOutOfMemory = "OutOfMemory"
	// ReasonPodEvicted: the node took the pod away: disk pressure, preemption, a drain, a shutdown.
	ReasonPodEvicted = "PodEvicted"
	// ReasonPodUnschedulable: no node takes the pod now.
	ReasonPodUnschedulable = "PodUnschedulable"
	// ReasonPodRefused: the cluster's admission does not take the Job or its pod: Pod Security, a LimitRange, a webhook.
	ReasonPodRefused = "PodRefused"
	// ReasonPodNotStarted: the node can't prepare the pod: a Secret is missing, for example.
	ReasonPodNotStarted = "PodNotStarted"
	// ReasonImagePullFailed: the kubelet can't pull an image of the build pod.
	ReasonImagePullFailed = "ImagePullFailed"
	// ReasonJobInvalid: the cluster calls the Job invalid, because of the resources, tolerations or node selector asked for.
	ReasonJobInvalid = "JobInvalid"
	// ReasonQuotaExceeded: a ResourceQuota of the namespace refuses the Job or its pod.
	ReasonQuotaExceeded = "QuotaExceeded"

	// Results of a build.
	ReasonOutputInvalid     = "OutputInvalid"
	ReasonDigestMismatch    = "DigestMismatch"
	ReasonPlatformMismatch  = "PlatformMismatch"
	ReasonWrongArchitecture = "WrongArchitecture"

	// Dockerfile policy.

	// ReasonDockerfilePolicyDenied: the Dockerfile breaks a rule of spec.dockerfilePolicy.
	ReasonDockerfilePolicyDenied = "DockerfilePolicyDenied"
	// ReasonPolicyInvalid: a rule of spec.dockerfilePolicy.extraRules doesn't compile, or can't be evaluated.
	ReasonPolicyInvalid = "PolicyInvalid"
	// ReasonPolicyBudgetExceeded: the rules took more time, steps or memory than they may.
	ReasonPolicyBudgetExceeded = "PolicyBudgetExceeded"
)
