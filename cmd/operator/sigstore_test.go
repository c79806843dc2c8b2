package main

import (
	"os"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/yaml"
)

// A replica that takes over must not begin with a trust root of long ago.
func TestTheTrustRootIsRefreshedByEveryReplica(t *testing.T) {
	var runs manager.LeaderElectionRunnable = everywhere{}
	if runs.NeedLeaderElection() {
		t.Error("only the leader refreshes it")
	}
}

// TUF's metadata is kept in a directory that can be written to.
func TestTheDeploymentHasATemporaryDirectory(t *testing.T) {
	raw, err := os.ReadFile("../../config/operator/deployment.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var d appsv1.Deployment
	if err := yaml.UnmarshalStrict(raw, &d); err != nil {
		t.Fatal(err)
	}
	for _, mount := range d.Spec.Template.Spec.Containers[0].VolumeMounts {
		if mount.MountPath == "/tmp" && !mount.ReadOnly {
			return
		}
	}
	t.Error("nothing can be written to /tmp")
}
