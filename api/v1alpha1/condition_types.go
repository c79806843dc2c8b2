package v1alpha1

// Condition types. All but Reconciling and Stalled are good when True; those two are present only while True, as
// kstatus asks.
const (
	// ConditionReady on a BaseImage: the tags point to an image that was built from the present spec
	// by the newest build that was due. On an ImageAdmissionPolicy: pods are admitted by the present spec.
	ConditionReady = "Ready"
	// ConditionResolved on a BaseImage: the last look at its source and upstream images found them. False says why
	// not; what was promoted before stays good.
	ConditionResolved = "Resolved"
	// ConditionReconciling: a build is being prepared or runs.
	ConditionReconciling = "Reconciling"
	// ConditionStalled: the newest build, or resolving its inputs, has failed for good. A changed input, a
	// request or the schedule tries again; inputs that can't be resolved are looked at again after five minutes.
	ConditionStalled = "Stalled"

	// ConditionDockerfilePolicyPassed on a BaseImageBuild: no rule of the Dockerfile policy refuses the Dockerfile.
	ConditionDockerfilePolicyPassed = "DockerfilePolicyPassed"
	// ConditionBuilt on a BaseImageBuild: every platform was built and pushed by digest.
	ConditionBuilt = "Built"
	// ConditionIndexed: what was pushed was read back and checked, and the index was pushed by digest.
	ConditionIndexed = "Indexed"
	// ConditionInspected: the file system and the config of every platform are what spec.tests asks for.
	ConditionInspected = "Inspected"
	// ConditionScanPassed: SBOMs and scans of every platform are in the registry, and no vulnerability refuses the image.
	ConditionScanPassed = "ScanPassed"
	// ConditionTestsPassed: the runtime tests passed on every platform that a node can run.
	ConditionTestsPassed = "TestsPassed"
	// ConditionSARIFUploaded: GitHub has Trivy's findings. It decides nothing about the build.
	ConditionSARIFUploaded = "SARIFUploaded"
	// ConditionAttested: every attestation of the index and of every platform is signed and in the registry.
	ConditionAttested = "Attested"
	// ConditionSigned: the index and every platform are signed, and the signatures are in the registry.
	ConditionSigned = "Signed"
	// ConditionVerified: all of that was read back from the registry, and verifies against the operator's own identity.
	ConditionVerified = "Verified"
	// ConditionPromoted: every tag points to the index.
	ConditionPromoted = "Promoted"
	// ConditionSucceeded: the whole build. False only when it has failed for good.
	ConditionSucceeded = "Succeeded"
)

// Reasons of conditions and events. Reasons of failures are listed in internal/pipeline/reasons.go.
const (
	// ReasonPromoted: the tags point to the newest image.
	ReasonPromoted = "Promoted"
	// ReasonBuilding: a build runs.
	ReasonBuilding = "Building"
	// ReasonBuildCreated: a build was started.
	ReasonBuildCreated = "BuildCreated"
	// ReasonQueued: a build waits for its turn.
	ReasonQueued = "Queued"
	// ReasonSuperseded: a build was cancelled because a newer one has newer inputs.
	ReasonSuperseded = "Superseded"
	// ReasonOutputConflict: another BaseImage writes the same repository and tag.
	ReasonOutputConflict = "OutputConflict"
	// ReasonSuspended: spec.suspend keeps a build that is due from starting.
	ReasonSuspended = "Suspended"
	// ReasonScanning: the scan Job runs.
	ReasonScanning = "Scanning"
	// ReasonTesting: test pods run.
	ReasonTesting = "Testing"
	// ReasonNoPackagesFound: the scan passed, and the scanners found no package that they could judge.
	ReasonNoPackagesFound = "NoPackagesFound"
	// ReasonTestsSkipped: no node can run the image on at least one platform, where nothing was tested.
	ReasonTestsSkipped = "TestsSkipped"
	// ReasonSucceeded: a phase or a build is done.
	ReasonSucceeded = "Succeeded"
	// ReasonPending: a phase was not reached yet.
	ReasonPending = "Pending"
	// ReasonBuildFailed: an instruction of the Dockerfile failed, or a container of a build pod did.
	ReasonBuildFailed = "BuildFailed"
	// ReasonTimedOut: spec.timeout has passed.
	ReasonTimedOut = "TimedOut"
	// ReasonScheduleInvalid: spec.schedule or spec.timeZone can't be read.
	ReasonScheduleInvalid = "ScheduleInvalid"
	// ReasonInForce: pods are admitted by the present version of a policy.
	ReasonInForce = "InForce"
	// ReasonConflict: an object with the name of one of ours belongs to somebody else.
	ReasonConflict = "NameConflict"
)
