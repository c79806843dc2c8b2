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

	// ReasonCloudCredentials: a cloud gives the webhook no credentials for its registry.
	ReasonCloudCredentials = "CloudCredentialsUnavailable"
	// ReasonClusterUnavailable: the Kubernetes API does not say what the webhook has to know.
	ReasonClusterUnavailable = "ClusterUnavailable"

	// ReasonPushSecretInvalid: spec.output.pushSecretRef names no Secret, or one of another type.
	ReasonPushSecretInvalid = "PushSecretInvalid"

	// ReasonInputChanged: somebody has changed the ConfigMap that holds a build's input.
	ReasonInputChanged = "InputChanged"

	// ReasonPolicyNotFound: spec.dockerfilePolicy.extraRules, spec.runtime.extraRules or spec.scan.vexRef names no ConfigMap.
	ReasonPolicyNotFound = "PolicyNotFound"
	// ReasonPolicyChanged: such a ConfigMap is another one than when the build was decided.
	ReasonPolicyChanged = "PolicyChanged"

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

	// Scans.

	// ReasonScanFailed: a scanner, or another container of the scan pod, failed.
	ReasonScanFailed = "ScanFailed"
	// ReasonVulnerabilitiesFound: at least one vulnerability refuses the image.
	ReasonVulnerabilitiesFound = "VulnerabilitiesFound"
	// ReasonVulnerabilityDatabaseTooOld: a scanner's database is older than the operator's configuration allows.
	ReasonVulnerabilityDatabaseTooOld = "VulnerabilityDatabaseTooOld"
	// ReasonVulnerabilityDatabaseUnavailable: a scanner's database is not where the operator's configuration says.
	ReasonVulnerabilityDatabaseUnavailable = "VulnerabilityDatabaseUnavailable"
	// ReasonVulnerabilityDatabaseInvalid: a scanner's database can't be read, or does not say when it was made.
	ReasonVulnerabilityDatabaseInvalid = "VulnerabilityDatabaseInvalid"
	// ReasonReportInvalid: a report is not what the scanner writes, or is about another image.
	ReasonReportInvalid = "ReportInvalid"
	// ReasonReportTooLarge: a report has more bytes or entries than limits.scan allows.
	ReasonReportTooLarge = "ReportTooLarge"
	// ReasonScanIncomplete: there are packages that no scanner can judge.
	ReasonScanIncomplete = "ScanIncomplete"
	// ReasonVEXInvalid: spec.scan.vexRef names no ConfigMap, or one that holds something else than OpenVEX documents.
	ReasonVEXInvalid = "VEXInvalid"
	// ReasonCodeScanningRefused: GitHub does not take the findings.
	ReasonCodeScanningRefused = "CodeScanningRefused"
	// ReasonCodeScanningUnavailable: GitHub does not answer, or asks to come later.
	ReasonCodeScanningUnavailable = "CodeScanningUnavailable"
	// ReasonGitHubTokenInvalid: spec.scan.github.tokenSecretRef names no Secret, or one without a token.
	ReasonGitHubTokenInvalid = "GitHubTokenInvalid"

	// Inspection.

	// ReasonInspectionFailed: an image has what spec.tests forbids, or lacks what it asks for.
	ReasonInspectionFailed = "InspectionFailed"
	// Dockerfile policy.

	// ReasonDockerfilePolicyDenied: the Dockerfile breaks a rule of spec.dockerfilePolicy.
	ReasonDockerfilePolicyDenied = "DockerfilePolicyDenied"
	// ReasonPolicyInvalid: a rule of spec.dockerfilePolicy.extraRules doesn't compile, or can't be evaluated; or an
	// ImageAdmissionPolicy is wrong.
	ReasonPolicyInvalid = "PolicyInvalid"
	// ReasonPolicyBudgetExceeded: the rules took more time, steps or memory than they may.
	ReasonPolicyBudgetExceeded = "PolicyBudgetExceeded"

	// Runtime tests.

	// ReasonTestsFailed: the image is not what it must be, or can do what it must not.
	ReasonTestsFailed = "TestsFailed"
	// ReasonProbeFailed: the probe of a test pod could not work, or left no report. That says nothing of the image.
	ReasonProbeFailed = "ProbeFailed"

	// Signing.

	// ReasonIdentityUnavailable: the cluster gives no token for the ServiceAccount that signs.
	ReasonIdentityUnavailable = "IdentityUnavailable"
	// ReasonTrustRootUnavailable: the operator has no trust root to verify with yet.
	ReasonTrustRootUnavailable = "TrustRootUnavailable"
	// ReasonTrustRootInvalid: the trust root can't be read, or lacks what verification needs.
	ReasonTrustRootInvalid = "TrustRootInvalid"
	// ReasonSigstoreUnavailable: Fulcio, Rekor or the timestamp authority does not answer, or with 5xx.
	ReasonSigstoreUnavailable = "SigstoreUnavailable"
	// ReasonSigstoreRefused: Fulcio, Rekor or the timestamp authority does not accept what it was sent.
	ReasonSigstoreRefused = "SigstoreRefused"
	// ReasonSigstoreAnswerInvalid: what Fulcio, Rekor or the timestamp authority has answered does not verify.
	ReasonSigstoreAnswerInvalid = "SigstoreAnswerInvalid"
	// ReasonAttestationTooLarge: a statement has more bytes than limits.signatures.statementBytes.
	ReasonAttestationTooLarge = "AttestationTooLarge"

	// Verification.

	// ReasonSignatureMissing: nothing in the registry says that the digest is signed.
	ReasonSignatureMissing = "SignatureMissing"
	// ReasonSignatureInvalid: there are signatures, and none of them verifies.
	ReasonSignatureInvalid = "SignatureInvalid"
	// ReasonIdentityMismatch: signatures verify, and none is of an identity that was asked for.
	ReasonIdentityMismatch = "IdentityMismatch"
	// ReasonAttestationMissing: there is no attestation of the predicate type that was asked for.
	ReasonAttestationMissing = "AttestationMissing"
	// ReasonAttestationRejected: there are good attestations of that predicate type, and none says what was asked for.
	ReasonAttestationRejected = "AttestationRejected"

	// Admission.

	// ReasonImageRefused: a policy refuses all images that it is for.
	ReasonImageRefused = "ImageRefused"
	// ReasonPlatformMissing: an index has no image that a node of the cluster can run.
	ReasonPlatformMissing = "PlatformMissing"
	// ReasonAdmissionBusy: so many images are looked at that the time was over before it was this one's turn.
	ReasonAdmissionBusy = "AdmissionBusy"
)
