package metrics

import (
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/pipeline"
)

// other stands for what is in no list: build pods report reasons of their own, which whoever writes the status of a pod
// chooses, and the API may have reasons that this version does not know.
const other = "Other"

// buildReasons are why builds are started.
var buildReasons = []string{
	string(v1alpha1.BuildReasonSpecChanged), string(v1alpha1.BuildReasonSourceChanged), string(v1alpha1.BuildReasonUpstreamChanged),
	string(v1alpha1.BuildReasonScheduled), string(v1alpha1.BuildReasonRequested), string(v1alpha1.BuildReasonRetried),
	string(v1alpha1.BuildReasonCredentialsChanged), string(v1alpha1.BuildReasonBuildDeleted),
	string(v1alpha1.BuildReasonPolicyChanged), other,
}

// failureReasons are why builds fail.
var failureReasons = []string{
	v1alpha1.ReasonBuildFailed, v1alpha1.ReasonTimedOut, v1alpha1.ReasonConflict, v1alpha1.ReasonOutputConflict,
	pipeline.ReasonInternalError, pipeline.ReasonUnknownPlatform,
	pipeline.ReasonSourceInvalid, pipeline.ReasonSourceNotFound, pipeline.ReasonSourceUnavailable, pipeline.ReasonSourceDenied,
	pipeline.ReasonSourceChanged, pipeline.ReasonSourceTooLarge, pipeline.ReasonGitRefNotFound, pipeline.ReasonGitHostKeyUnknown,
	pipeline.ReasonSourceSecretInvalid, pipeline.ReasonSourcePathEscapes,
	pipeline.ReasonDockerfileNotFound, pipeline.ReasonDockerfileInvalid, pipeline.ReasonDockerfileArgUndefined,
	pipeline.ReasonUpstreamInvalid, pipeline.ReasonUpstreamNotFound, pipeline.ReasonUpstreamUnpinned, pipeline.ReasonUpstreamMissingPlatform,
	pipeline.ReasonRegistryUnauthorized, pipeline.ReasonRegistryDenied, pipeline.ReasonPushDenied, pipeline.ReasonRepositoryNotFound,
	pipeline.ReasonRegistryThrottled, pipeline.ReasonRegistryUnavailable, pipeline.ReasonRegistryTimeout, pipeline.ReasonRegistryTooSlow,
	pipeline.ReasonRegistryAddress, pipeline.ReasonImageNotFound, pipeline.ReasonImageTooLarge, pipeline.ReasonImageInvalid,
	pipeline.ReasonTagImmutable, pipeline.ReasonRegistryRejected, pipeline.ReasonRegistryCredentials, pipeline.ReasonPushSecretInvalid,
	pipeline.ReasonCloudCredentials, pipeline.ReasonClusterUnavailable,
	pipeline.ReasonInputChanged,
	pipeline.ReasonOutOfMemory, pipeline.ReasonPodEvicted, pipeline.ReasonPodUnschedulable, pipeline.ReasonPodRefused, pipeline.ReasonPodNotStarted,
	pipeline.ReasonImagePullFailed, pipeline.ReasonJobInvalid, pipeline.ReasonQuotaExceeded,
	pipeline.ReasonOutputInvalid, pipeline.ReasonDigestMismatch, pipeline.ReasonPlatformMismatch, pipeline.ReasonWrongArchitecture,
	pipeline.ReasonScanFailed, pipeline.ReasonVulnerabilitiesFound, pipeline.ReasonVulnerabilityDatabaseTooOld,
	pipeline.ReasonVulnerabilityDatabaseUnavailable, pipeline.ReasonVulnerabilityDatabaseInvalid, pipeline.ReasonReportInvalid,
	pipeline.ReasonReportTooLarge, pipeline.ReasonVEXInvalid, pipeline.ReasonScanIncomplete,
	pipeline.ReasonInspectionFailed,
	pipeline.ReasonDockerfilePolicyDenied, pipeline.ReasonPolicyInvalid, pipeline.ReasonPolicyBudgetExceeded,
	pipeline.ReasonPolicyNotFound, pipeline.ReasonPolicyChanged, pipeline.ReasonTestsFailed, pipeline.ReasonProbeFailed,
	pipeline.ReasonIdentityUnavailable, pipeline.ReasonTrustRootUnavailable, pipeline.ReasonTrustRootInvalid, pipeline.ReasonSigstoreUnavailable,
	pipeline.ReasonSigstoreRefused, pipeline.ReasonSigstoreAnswerInvalid, pipeline.ReasonAttestationTooLarge,
	pipeline.ReasonSignatureMissing, pipeline.ReasonSignatureInvalid, pipeline.ReasonIdentityMismatch, pipeline.ReasonAttestationMissing,
	pipeline.ReasonAttestationRejected,
	other,
}

func failureReason(build *v1alpha1.BaseImageBuild) string {
	c := meta.FindStatusCondition(build.Status.Conditions, v1alpha1.ConditionSucceeded)
	if c == nil {
		return other
	}
	return closed(failureReasons, c.Reason)
}

func closed(list []string, value string) string {
	if slices.Contains(list, value) {
		return value
	}
	return other
}
