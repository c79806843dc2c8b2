package workload

import (
	"encoding/json"
	"fmt"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

var podKind = metav1.GroupVersionKind{Version: "v1", Kind: "Pod"}

// every has an image of each kind.
func every() corev1.PodSpec {
	return corev1.PodSpec{
		InitContainers: []corev1.Container{{Name: "first", Image: "r.io/init"}, {Name: "sidecar", Image: "r.io/sidecar:1", RestartPolicy: new(corev1.ContainerRestartPolicyAlways)}},
		Containers:     []corev1.Container{{Name: "app", Image: "r.io/app:1"}, {Name: "proxy", Image: "r.io/proxy:1"}},
		EphemeralContainers: []corev1.EphemeralContainer{
			{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "debug", Image: "r.io/debug"}, TargetContainerName: "app"}},
		Volumes: []corev1.Volume{
			{Name: "scratch", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
			{Name: "model", VolumeSource: corev1.VolumeSource{Image: &corev1.ImageVolumeSource{Reference: "r.io/model:1"}}},
		},
	}
}

// realistic is a pod of three containers, as the API server sends it.
func realistic() *corev1.Pod {
	pod := &corev1.Pod{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{
			Name: "shop-6d4cf56db6-x7x2q", GenerateName: "shop-6d4cf56db6-", Namespace: "shop", UID: "c0a3f9a6-6d1c-4f5c-9d2e-0d8a7a9e5b11",
			Labels:          map[string]string{"app.kubernetes.io/name": "shop", "pod-template-hash": "6d4cf56db6"},
			Annotations:     map[string]string{"prometheus.io/scrape": "true", "checksum/config": "0b1c2d3e4f"},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "shop-6d4cf56db6", UID: "u", Controller: new(true)}},
			ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "kube-controller-manager", Operation: "Update", APIVersion: "v1", FieldsType: "FieldsV1",
				FieldsV1: new(*metav1.NewFieldsV1(`{"f:metadata":{"f:labels":{".":{},"f:app":{}},"f:ownerReferences":{".":{},"k:{\"uid\":\"u\"}":{}}},"f:spec":{"f:containers":{"k:{\"name\":\"app\"}":{".":{},"f:env":{".":{},"k:{\"name\":\"A\"}":{".":{},"f:name":{},"f:value":{}}},"f:image":{},"f:imagePullPolicy":{},"f:name":{},"f:resources":{},"f:terminationMessagePath":{}}},"f:dnsPolicy":{},"f:restartPolicy":{}}}`))}},
		},
		Spec: corev1.PodSpec{ServiceAccountName: "shop", DNSPolicy: "ClusterFirst", RestartPolicy: "Always", SchedulerName: "default-scheduler", SecurityContext: &corev1.PodSecurityContext{RunAsNonRoot: new(true)},
			ImagePullSecrets: []corev1.LocalObjectReference{{Name: "pull"}}, Tolerations: []corev1.Toleration{{Key: "node.kubernetes.io/not-ready", Operator: "Exists", Effect: "NoExecute", TolerationSeconds: new(int64(300))}},
			Volumes: []corev1.Volume{{Name: "tmp", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}},
	}
	for i := range 3 {
		c := corev1.Container{Name: fmt.Sprintf("app-%d", i), Image: fmt.Sprintf("registry.example/team/app-%d:1.2.3", i), ImagePullPolicy: "IfNotPresent", TerminationMessagePath: "/dev/termination-log", TerminationMessagePolicy: "File",
			Args: []string{"--listen=:8080", "--log-level=info"}, Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 8080, Protocol: "TCP"}},
			VolumeMounts:    []corev1.VolumeMount{{Name: "tmp", MountPath: "/tmp"}},
			ReadinessProbe:  &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/ready", Port: intstr.FromString("http")}}, PeriodSeconds: 10},
			Resources:       corev1.ResourceRequirements{Limits: corev1.ResourceList{"cpu": resource.MustParse("500m"), "memory": resource.MustParse("256Mi")}},
			SecurityContext: &corev1.SecurityContext{AllowPrivilegeEscalation: new(false), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}, ReadOnlyRootFilesystem: new(true), RunAsUser: new(int64(65532))}}
		for j := range 8 {
			c.Env = append(c.Env, corev1.EnvVar{Name: fmt.Sprintf("SETTING_%d", j), Value: "value of the setting"})
		}
		pod.Spec.Containers = append(pod.Spec.Containers, c)
	}
	return pod
}

func marshal(t testing.TB, object any) []byte {
	t.Helper()
	raw, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func decoded(t testing.TB, kind metav1.GroupVersionKind, object any) *Object {
	t.Helper()
	o, err := Decode(kind, marshal(t, object))
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// kinds are an object of each, with the same pod in it, and where that is.
func kinds(spec corev1.PodSpec) map[metav1.GroupVersionKind]struct {
	object any
	path   string
} {
	type entry = struct {
		object any
		path   string
	}
	name := metav1.ObjectMeta{Name: "owner", Namespace: "team"}
	template := corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "shop"}}, Spec: spec}
	apps := func(kind string) metav1.GroupVersionKind {
		return metav1.GroupVersionKind{Group: "apps", Version: "v1", Kind: kind}
	}
	return map[metav1.GroupVersionKind]entry{
		podKind: {corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "owner", Namespace: "team", Labels: template.Labels}, Spec: spec}, "spec"},
		{Version: "v1", Kind: "ReplicationController"}: {
			corev1.ReplicationController{ObjectMeta: name, Spec: corev1.ReplicationControllerSpec{Template: &template}}, "spec.template.spec"},
		apps("Deployment"):  {appsv1.Deployment{ObjectMeta: name, Spec: appsv1.DeploymentSpec{Template: template}}, "spec.template.spec"},
		apps("ReplicaSet"):  {appsv1.ReplicaSet{ObjectMeta: name, Spec: appsv1.ReplicaSetSpec{Template: template}}, "spec.template.spec"},
		apps("StatefulSet"): {appsv1.StatefulSet{ObjectMeta: name, Spec: appsv1.StatefulSetSpec{Template: template}}, "spec.template.spec"},
		apps("DaemonSet"):   {appsv1.DaemonSet{ObjectMeta: name, Spec: appsv1.DaemonSetSpec{Template: template}}, "spec.template.spec"},
		{Group: "batch", Version: "v1", Kind: "Job"}: {
			batchv1.Job{ObjectMeta: name, Spec: batchv1.JobSpec{Template: template}}, "spec.template.spec"},
		{Group: "batch", Version: "v1", Kind: "CronJob"}: {
			batchv1.CronJob{ObjectMeta: name, Spec: batchv1.CronJobSpec{JobTemplate: batchv1.JobTemplateSpec{Spec: batchv1.JobSpec{Template: template}}}},
			"spec.jobTemplate.spec.template.spec"},
	}
}
