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

	// Dockerfiles.
	ReasonDockerfileNotFound = "DockerfileNotFound"
	ReasonDockerfileInvalid  = "DockerfileInvalid"

	// Upstream images.
	ReasonUpstreamInvalid         = "UpstreamInvalid"
	ReasonUpstreamNotFound        = "UpstreamNotFound"
	ReasonUpstreamUnpinned        = "UpstreamUnpinned"
	ReasonUpstreamMissingPlatform = "UpstreamMissingPlatform"

	// Registries.
	ReasonRegistryDenied      = "RegistryDenied"
	ReasonRegistryUnavailable = "RegistryUnavailable"
	ReasonRegistryAddress     = "RegistryAddressNotAllowed"
	ReasonImageNotFound       = "ImageNotFound"
	ReasonImageTooLarge       = "ImageTooLarge"
	ReasonImageInvalid        = "ImageInvalid"
	ReasonTagImmutable        = "TagImmutable"
	// ReasonRegistryRejected is an answer that calls the request itself wrong, for
	// example 400 MANIFEST_INVALID.
	ReasonRegistryRejected = "RegistryRejected"
	// ReasonRegistryCredentials is a secret that is not a docker config.
	ReasonRegistryCredentials = "RegistryCredentialsInvalid"

	// ReasonPushSecretInvalid: spec.output.pushSecretRef names no Secret, or one of another type.
	ReasonPushSecretInvalid = "PushSecretInvalid"

	// ReasonInputChanged: somebody has changed the ConfigMap that holds a build's input.
	ReasonInputChanged = "InputChanged"

	// Results of a build.
	ReasonOutputInvalid     = "OutputInvalid"
	ReasonDigestMismatch    = "DigestMismatch"
	ReasonPlatformMismatch  = "PlatformMismatch"
	ReasonWrongArchitecture = "WrongArchitecture"
)
