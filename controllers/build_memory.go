package controllers

import (
	"context"
	"slices"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"k8s.io/apimachinery/pkg/types"

	"github.com/ibshafique/base-images/api/v1alpha1"
)

// maxRemembered builds are remembered, a few kilobytes each.
const maxRemembered = 1024

// memory is what this process has seen of a build that runs: a phase that was done is not looked at again with every
// step of a pod. Another process looks for the evidence itself.
type memory struct {
	done []done
	// status has what those phases have found.
	status         v1alpha1.BaseImageBuildStatus
	digests        map[string]string
	built, scanned evidence
	attested       []v1alpha1.AttestationReference
	verified       time.Time
	resumed        time.Time
	// ended says that the end of the build was written; nothing else is remembered then.
	ended bool
}

func newMemory() *lru.Cache[types.UID, memory] {
	m, err := lru.New[types.UID, memory](maxRemembered)
	if err != nil {
		panic(err) // Only for a size that is not positive.
	}
	return m
}

// recall goes on where this process has left off.
func (run *buildRun) recall() []done {
	m, ok := run.memory.Get(run.build.UID)
	if !ok {
		return nil
	}
	run.digests, run.resumed = m.digests, m.resumed
	run.built, run.scanned, run.attested, run.verified = m.built, m.scanned, m.attested, m.verified
	copyFindings(&run.build.Status, &m.status)
	return slices.Clone(m.done)
}

func (run *buildRun) remember(all []done) {
	m := memory{done: slices.Clone(all), digests: run.digests, resumed: run.resumed, built: run.built, scanned: run.scanned, attested: run.attested, verified: run.verified}
	copyFindings(&m.status, &run.build.Status)
	run.memory.Add(run.build.UID, m)
}

// unremember has the next pass look at a phase again, and at those behind it.
func (run *buildRun) unremember(condition string) {
	m, ok := run.memory.Get(run.build.UID)
	i := slices.IndexFunc(run.phases(), func(p phase) bool { return p.condition == condition })
	if ok && i >= 0 && i < len(m.done) {
		m.done = slices.Clone(m.done[:i])
		run.memory.Add(run.build.UID, m)
	}
}

// forget keeps nothing of a build whose end was written but that.
func (run *buildRun) forget() {
	if finished(run.build) {
		run.memory.Add(run.build.UID, memory{ended: true})
	}
}

// read has a build from the cache; but from the apiserver if its end was written here, and the cache is behind that: a pass
// over what it was before would start and sign again what has ended.
func (r *BuildReconciler) read(ctx context.Context, key types.NamespacedName) (*v1alpha1.BaseImageBuild, error) {
	build := &v1alpha1.BaseImageBuild{}
	if err := r.Get(ctx, key, build); err != nil || finished(build) {
		return build, err
	}
	if m, _ := r.memory.Get(build.UID); !m.ended {
		return build, nil
	}
	now := &v1alpha1.BaseImageBuild{}
	return now, r.Live.Get(ctx, key, now)
}

// copyFindings copies what phases find. They replace it as a whole, and never change it.
func copyFindings(to, from *v1alpha1.BaseImageBuildStatus) {
	to.DockerfilePolicy, to.Platforms, to.Digest = from.DockerfilePolicy, from.Platforms, from.Digest
	to.Scan, to.Tests, to.Signature = from.Scan, from.Tests, from.Signature
}
