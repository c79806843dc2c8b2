//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/pipeline"
)

const (
	vulnerableDebian = "docker.io/library/debian:12.0-slim"
	// recorded copies what scanners look at of a Debian: what it is, and the packages with their versions.
	recorded = "FROM " + vulnerableDebian + " AS debian\nFROM scratch\n" +
		"COPY --from=debian /etc/os-release /etc/debian_version /etc/\nCOPY --from=debian /var/lib/dpkg/status.d /var/lib/dpkg/status.d\n"
	withAlpine = "FROM " + alpine + " AS alpine\n"
)

// strict is an image with a whole Dockerfile of its own, judged by the defaults.
func strict(namespace, name, dockerfile string) *v1alpha1.BaseImage {
	image := onlyAMD64(inline(namespace, name, ""))
	image.Spec.Source.Inline.Dockerfile = dockerfile
	image.Spec.Tests = v1alpha1.TestPolicy{}
	image.Spec.Retries = new(int32(0))
	return image
}

// TestRefusals has one image for each way to fail: each is refused with the right words, and nothing further is started.
func TestRefusals(t *testing.T) {
	ns := newNamespace(t)
	worker := operatorConfig(t).Images.Worker
	tests := map[string]struct {
		image  *v1alpha1.BaseImage
		change func(*v1alpha1.BaseImage)
		reason string
		says   []string
		// jobs that ran, by what is behind the build's name.
		jobs []string
	}{
		"a Dockerfile without USER": {
			image:  strict(ns, "no-user", "FROM scratch\n"+described),
			reason: pipeline.ReasonDockerfilePolicyDenied, says: []string{"deny_user_required", "line 1", "USER 65532:65532"}},
		"a Dockerfile that ends as root": {
			image:  strict(ns, "root", "FROM scratch\nARG ID=0\n"+described+"USER ${ID}:1000\n"),
			reason: pipeline.ReasonDockerfilePolicyDenied, says: []string{"deny_user_root", "line 4", "USER 65532:65532"}},
		"a Dockerfile without labels": {
			image:  strict(ns, "no-labels", "FROM scratch\nUSER 65532:65532\n"),
			reason: pipeline.ReasonDockerfilePolicyDenied, says: []string{"deny_labels_required", "org.opencontainers.image.title"}},
		"a Dockerfile with ADD": {
			image:  strict(ns, "adds", "FROM scratch\nADD passwd /etc/passwd\n"+conforming),
			reason: pipeline.ReasonDockerfilePolicyDenied, says: []string{"deny_add", "line 2", "COPY"}},
		"a base image without a version, where warnings count": {
			image:  strict(ns, "latest", "FROM cgr.dev/chainguard/wolfi-base:latest\n"+conforming),
			change: warningsCount,
			reason: pipeline.ReasonDockerfilePolicyDenied, says: []string{"warn_from_latest", "line 1", "digest"}},
		"apt-get without clean-up, where warnings count": {
			image:  strict(ns, "apt-get", "FROM "+vulnerableDebian+"\nRUN apt-get update && apt-get install -y curl\n"+conforming),
			change: warningsCount,
			reason: pipeline.ReasonDockerfilePolicyDenied, says: []string{"warn_apt_get_cleanup", "line 2", "rm -rf /var/lib/apt/lists/*"}},
		"apk add with its cache, where warnings count": {
			image:  strict(ns, "apk-add", "FROM "+alpine+"\nRUN apk add curl\n"+conforming),
			change: warningsCount,
			reason: pipeline.ReasonDockerfilePolicyDenied, says: []string{"warn_apk_no_cache", "line 2", "--no-cache"}},
		"an exception for a rule that is none": {
			image: strict(ns, "misspelt", "FROM scratch\n"+conforming),
			change: func(i *v1alpha1.BaseImage) {
				i.Spec.DockerfilePolicy.Exceptions = []v1alpha1.PolicyException{{Rule: "deny_user_missing", Reason: "a slip", Expires: inAnHour()}}
			},
			reason: pipeline.ReasonPolicyInvalid, says: []string{`there is no rule "deny_user_missing"`, "deny_user_required"}},
		"a rule of the team": {
			image: strict(ns, "team-rule", "FROM scratch\n"+conforming+"ENV DEBUG=1\n"),
			change: func(i *v1alpha1.BaseImage) {
				i.Spec.DockerfilePolicy.ExtraRules = &v1alpha1.LocalReference{Name: "team-rules"}
			},
			reason: pipeline.ReasonDockerfilePolicyDenied, says: []string{"team.deny_debug", "no DEBUG in a base image"}},

		"rules that would end whoever evaluates them": {
			image: strict(ns, "bomb", "FROM scratch\n"+conforming),
			change: func(i *v1alpha1.BaseImage) {
				i.Spec.DockerfilePolicy.ExtraRules = &v1alpha1.LocalReference{Name: "bomb"}
			},
			reason: pipeline.ReasonPolicyBudgetExceeded, says: []string{"spec.dockerfilePolicy.extraRules", "simplify them"}},

		"a shell under another name": {
			image:  strict(ns, "shell", withAlpine+"FROM scratch\nCOPY --from=alpine /bin/busybox /opt/tool\n"+conforming),
			reason: pipeline.ReasonInspectionFailed, says: []string{"no-shell", "/opt/tool", "spec.tests.shells"}, jobs: []string{"amd64"}},
		"apk left inside": {
			image:  strict(ns, "apk", withAlpine+"FROM scratch\nCOPY --from=alpine /sbin/apk /sbin/apk\nCOPY --from=alpine /lib/apk/db /lib/apk/db\n"+conforming),
			reason: pipeline.ReasonInspectionFailed, says: []string{"no-package-manager", "/sbin/apk", "no-package-database", "/lib/apk/db/installed"}, jobs: []string{"amd64"}},
		"an image of root, which the Dockerfile policy let pass": {
			image: strict(ns, "excepted-root", "FROM scratch\nCOPY passwd /etc/passwd\n"+described+"USER 0:0\n"),
			change: func(i *v1alpha1.BaseImage) {
				i.Spec.DockerfilePolicy.Exceptions = []v1alpha1.PolicyException{{Rule: "deny_user_root", Reason: "the test of the next gate", Expires: inAnHour()}}
			},
			reason: pipeline.ReasonInspectionFailed, says: []string{"user", "0:0", "65532"}, jobs: []string{"amd64"}},
		"a label without a value": {
			image: strict(ns, "unlabelled", "FROM scratch\n"+conforming),
			change: func(i *v1alpha1.BaseImage) {
				i.Spec.Tests.RequiredLabels = []string{"org.opencontainers.image.title", "com.example.owner"}
			},
			reason: pipeline.ReasonInspectionFailed, says: []string{"label", "com.example.owner", "LABEL"}, jobs: []string{"amd64"}},
		"an image that is too large": {
			image:  strict(ns, "large", withAlpine+"FROM scratch\nCOPY --from=alpine /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/\n"+conforming),
			change: func(i *v1alpha1.BaseImage) { i.Spec.Tests.MaxSize = new(resource.MustParse("20Ki")) },
			reason: pipeline.ReasonInspectionFailed, says: []string{"size", "spec.tests.maxSize"}, jobs: []string{"amd64"}},
		"a setuid file": {
			image: strict(ns, "setuid", withAlpine+"RUN echo x > /tool && chmod 4755 /tool\n"+
				"FROM scratch\nCOPY --from=alpine /tool /usr/bin/tool\n"+conforming),
			reason: pipeline.ReasonInspectionFailed, says: []string{"no-setuid", "/usr/bin/tool", "spec.tests.setuidFiles"}, jobs: []string{"amd64"}},
		"a directory that everybody may write to": {
			image: strict(ns, "shared", withAlpine+"RUN mkdir -p /tree/shared && chmod 0777 /tree/shared\n"+
				"FROM scratch\nCOPY --from=alpine /tree /\n"+conforming),
			reason: pipeline.ReasonInspectionFailed, says: []string{"no-world-writable", "/shared"}, jobs: []string{"amd64"}},
		"a user without an entry in /etc/passwd": {
			image:  strict(ns, "no-passwd", "FROM scratch\nCOPY passwd /\n"+described+"USER 65532:65532\n"),
			reason: pipeline.ReasonInspectionFailed, says: []string{"passwd-entry", "/etc/passwd", "65532"}, jobs: []string{"amd64"}},

		"critical vulnerabilities": {
			image:  strict(ns, "vulnerable", recorded+conforming),
			reason: pipeline.ReasonVulnerabilitiesFound, jobs: []string{"amd64", "scan"},
			says: []string{"CVE-2022-48174 (Critical) in busybox-static", "fixed in 1:1.35.0-4+deb12u1", "Grype, Trivy", "spec.scan.waivers", "full report (Grype, linux/amd64): " + registryHost}},
		"packages that no scanner can judge, because the Dockerfile hides where they are from": {
			image:  strict(ns, "hidden", recorded+"COPY passwd /etc/os-release\nCOPY passwd /etc/debian_version\n"+conforming),
			reason: pipeline.ReasonScanIncomplete, jobs: []string{"amd64", "scan"}, says: []string{"can't judge 6 packages of a distribution", "/etc/os-release"}},
		"a waiver that has expired": {
			image: strict(ns, "expired", recorded+conforming),
			change: func(i *v1alpha1.BaseImage) {
				i.Spec.Scan.Waivers = append(waivers(inAnHour(), "CVE-2025-7458", "CVE-2023-45853"), waivers(metav1.NewTime(time.Now().Add(-time.Hour)), "CVE-2022-48174")...)
			},
			reason: pipeline.ReasonVulnerabilitiesFound, jobs: []string{"amd64", "scan"},
			says: []string{"1 vulnerability refuses the image", "CVE-2022-48174", "the waiver of CVE-2022-48174 (the test) expired on"}},
		"a high vulnerability, where one scanner's threshold is lower": {
			image: strict(ns, "high", recorded+conforming),
			change: func(i *v1alpha1.BaseImage) {
				i.Spec.Scan.Grype.FailOn, i.Spec.Scan.Trivy.FailOn = v1alpha1.ThresholdHigh, v1alpha1.ThresholdNever
				i.Spec.Scan.Waivers = waivers(inAnHour(), "CVE-2025-7458", "CVE-2022-48174", "CVE-2023-4911")
			},
			reason: pipeline.ReasonVulnerabilitiesFound, jobs: []string{"amd64", "scan"}, says: []string{"CVE-2023-5363 (High) in libssl3", "Grype"}},

		"a program that writes to the root file system": {
			image: strict(ns, "writes", "FROM "+worker+" AS worker\nFROM scratch\nCOPY --from=worker /worker /worker\nCOPY --from=worker /probes /probes\n"+conforming),
			change: func(i *v1alpha1.BaseImage) {
				i.Spec.Tests.Command = []string{"/worker", "install-probe", "--platform=linux/amd64", "--to=/probes/here", "--report=/dev/stdout"}
			},
			reason: pipeline.ReasonTestsFailed, jobs: []string{"amd64", "scan", "test-amd64"}, says: []string{"linux/amd64 failed command", "read-only file system", "/probes/here"}},
	}
	bomb, err := os.ReadFile(filepath.Join(checkout, "internal", "rules", "testdata", "stack.rego"))
	must(t, err)
	create(t, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "bomb"}, Data: map[string]string{"bomb.rego": string(bomb)}})
	create(t, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "team-rules"}, Data: map[string]string{
		"debug.rego": "package team\n\ndeny_debug contains \"no DEBUG in a base image\" if {\n\tsome i\n\tinput[i].Cmd == \"env\"\n\t\"DEBUG\" in input[i].Value\n}\n"}})
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if tc.change != nil {
				tc.change(tc.image)
			}
			create(t, tc.image)
			ready := awaitStalled(t, tc.image)
			t.Logf("%s: %s", ready.Reason, ready.Message)
			if ready.Reason != tc.reason {
				t.Errorf("reason = %s, want %s", ready.Reason, tc.reason)
			}
			for _, want := range tc.says {
				if !strings.Contains(ready.Message, want) {
					t.Errorf("the message does not say %q", want)
				}
			}
			checkNothingFurther(t, tc.image, tc.jobs)
			checkToldBy(t, tc.image, tc.reason)
		})
	}
}

func warningsCount(i *v1alpha1.BaseImage) { i.Spec.DockerfilePolicy.FailOn = v1alpha1.PolicyWarn }

func inAnHour() metav1.Time { return metav1.NewTime(time.Now().Add(time.Hour)) }

func waivers(expires metav1.Time, ids ...string) []v1alpha1.Waiver {
	var out []v1alpha1.Waiver
	for _, id := range ids {
		out = append(out, v1alpha1.Waiver{ID: id, Reason: "the test", Expires: expires})
	}
	return out
}

// checkNothingFurther compares the Jobs of an image's only build, and looks for a tag that should not be there.
func checkNothingFurther(t *testing.T, image *v1alpha1.BaseImage, jobs []string) {
	t.Helper()
	var got []string
	for _, j := range jobsOf(t.Context(), t, image) {
		got = append(got, strings.TrimPrefix(j.Name, "basewright-"+j.Labels["basewright.dev/build"]+"-"))
	}
	slices.Sort(got)
	if !slices.Equal(got, jobs) {
		t.Errorf("Jobs = %q, want %q", got, jobs)
	}
	ref, err := name.NewTag(image.Spec.Output.Repository + ":latest")
	must(t, err)
	_, err = remote.Head(ref, registryOptions(t))
	if refused, ok := errors.AsType[*transport.Error](err); !ok || refused.StatusCode != 404 {
		t.Errorf("the tag: %v, want none", err)
	}
}

// checkToldBy looks for the reason in what kubectl describe shows of the image, and among its events.
func checkToldBy(t *testing.T, image *v1alpha1.BaseImage, reason string) {
	t.Helper()
	eventually(t, time.Minute, "an event "+reason+" of "+image.Name, func(context.Context) (bool, string) {
		out := run(t, nil, kubectl, "--namespace="+image.Namespace, "describe", "baseimage", image.Name)
		_, events, _ := strings.Cut(out, "Events:")
		return strings.Contains(events, reason), out
	})
}

// TestARefusedImageLeavesTheLastGoodOne promotes an image, and then refuses the next: tags and digest stay.
func TestARefusedImageLeavesTheLastGoodOne(t *testing.T) {
	t.Parallel()
	image := strict(newNamespace(t), "kept", "FROM scratch\n"+conforming)
	create(t, image)
	good := awaitReady(t, image).Status.Image
	edit(t, image, func(i *v1alpha1.BaseImage) { i.Spec.Source.Inline.Dockerfile = recorded + conforming })
	if ready := awaitStalled(t, image); ready.Reason != pipeline.ReasonVulnerabilitiesFound {
		t.Errorf("Ready says %s: %s", ready.Reason, ready.Message)
	}
	now := await(t, image, "refused", func(*v1alpha1.BaseImage) bool { return true })
	if now.Status.Image == nil || now.Status.Image.Digest != good.Digest {
		t.Errorf("status has %+v, the last good image was %s", now.Status.Image, good.Digest)
	}
	if got := pull(t, now, "latest").Digest.String(); got != good.Digest {
		t.Errorf("latest is %s, the last good image was %s", got, good.Digest)
	}
	// A waiver of each is a change that builds again, and what is promoted says what it has.
	edit(t, image, func(i *v1alpha1.BaseImage) {
		i.Spec.Scan.Waivers = waivers(inAnHour(), "CVE-2025-7458", "CVE-2022-48174", "CVE-2023-45853")
	})
	waived := awaitReady(t, image)
	if waived.Status.LatestBuild.Reason != "PolicyChanged" || waived.Status.Image.Digest == good.Digest {
		t.Errorf("%s was built for %s", waived.Status.Image.Digest, waived.Status.LatestBuild.Reason)
	}
	v := waived.Status.Image.Vulnerabilities
	if v == nil || v.Critical != 0 || v.High == 0 || *waived.Status.Image.Packages == 0 || waived.Status.Image.Tests != "1/1" {
		t.Errorf("status has %+v, %v packages and tests %q", v, waived.Status.Image.Packages, waived.Status.Image.Tests)
	}
	build := buildOf(t, waived)
	if r := build.Status.Scan; r.Waived != 3 || r.OnlyGrype == 0 || len(r.Databases) != 2 || r.Databases[0].Age == "" || r.Platforms[0].SPDX == "" {
		t.Errorf("the scan says %+v", r)
	}
	t.Log(run(t, nil, kubectl, "--namespace="+image.Namespace, "get", "baseimages", "-o", "wide"))
	t.Log(run(t, nil, kubectl, "--namespace="+image.Namespace, "describe", "baseimagebuild", build.Name))
}

func buildOf(t *testing.T, image *v1alpha1.BaseImage) *v1alpha1.BaseImageBuild {
	t.Helper()
	build := &v1alpha1.BaseImageBuild{}
	must(t, k8s.Get(t.Context(), client.ObjectKey{Namespace: image.Namespace, Name: image.Status.LatestBuild.Name}, build))
	return build
}

// TestVEXRulesOut has a document say that the critical vulnerabilities don't concern the image.
func TestVEXRulesOut(t *testing.T) {
	t.Parallel()
	ns := newNamespace(t)
	statement := func(id, pkg string) string {
		return fmt.Sprintf(`{"vulnerability": {"name": %q}, "products": [{"@id": "pkg:deb/debian/%s"}], "status": "not_affected", "justification": "vulnerable_code_not_in_execute_path"}`, id, pkg)
	}
	create(t, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "vex"}, Data: map[string]string{"statements.json": fmt.Sprintf(
		`{"@context": "https://openvex.dev/ns/v0.2.0", "@id": "https://example.com/vex/1", "author": "test", "timestamp": "2026-01-01T00:00:00Z", "version": 1, "statements": [%s, %s, %s]}`,
		statement("CVE-2022-48174", "busybox-static"), statement("CVE-2025-7458", "libsqlite3-0"), statement("CVE-2023-45853", "zlib1g"))}})
	image := strict(ns, "vex", recorded+conforming)
	image.Spec.Scan.VEXRef = &v1alpha1.LocalReference{Name: "vex"}
	create(t, image)
	if build := buildOf(t, awaitReady(t, image)); build.Status.Scan.VEX != 3 || build.Spec.Inputs.VEX == "" {
		t.Errorf("the scan says %+v", build.Status.Scan)
	}
}

// TestNothingFoundIsSaidToBeNothing builds an image in which no scanner can find anything.
func TestNothingFoundIsSaidToBeNothing(t *testing.T) {
	t.Parallel()
	image := strict(newNamespace(t), "empty", "FROM scratch\n"+conforming)
	create(t, image)
	ready := awaitReady(t, image)
	build := buildOf(t, ready)
	c := meta.FindStatusCondition(build.Status.Conditions, v1alpha1.ConditionScanPassed)
	if c.Reason != v1alpha1.ReasonNoPackagesFound || !strings.Contains(c.Message, "no packages were found") {
		t.Errorf("ScanPassed says %s: %s", c.Reason, c.Message)
	}
	if ready.Status.Image.Vulnerabilities != nil || *ready.Status.Image.Packages != 0 {
		t.Errorf("status has %+v in %d packages", ready.Status.Image.Vulnerabilities, *ready.Status.Image.Packages)
	}
}

// TestDatabasesFailClosed scans with databases that are too old, missing and unreadable. They are those of the whole sandbox,
// so no other test runs beside it.
func TestDatabasesFailClosed(t *testing.T) {
	ns := newNamespace(t)
	t.Cleanup(func() {
		if _, err := sandbox("databases", "fresh"); err != nil {
			t.Errorf("restoring the databases: %v", err)
		}
	})
	for _, tc := range []struct {
		state, reason string
		says          []string
	}{
		{"stale", pipeline.ReasonVulnerabilityDatabaseTooOld, []string{"30d old", "databases.maxAge allows 5d"}},
		{"missing", pipeline.ReasonVulnerabilityDatabaseUnavailable, []string{"databases."}},
		{"corrupt", pipeline.ReasonVulnerabilityDatabaseInvalid, []string{"databases."}},
	} {
		t.Run(tc.state, func(t *testing.T) {
			_, err := sandbox("databases", tc.state)
			must(t, err)
			image := strict(ns, tc.state, "FROM scratch\n"+conforming)
			create(t, image)
			ready := awaitStalled(t, image)
			t.Logf("%s: %s", ready.Reason, ready.Message)
			if ready.Reason != tc.reason {
				t.Errorf("reason = %s, want %s", ready.Reason, tc.reason)
			}
			for _, want := range tc.says {
				if !strings.Contains(ready.Message, want) {
					t.Errorf("the message does not say %q", want)
				}
			}
			checkNothingFurther(t, image, []string{"amd64", "scan"})
		})
	}
}

// TestAPlatformThatNoNodeCanRunIsSkipped takes the emulation of arm64 away from the only node: that is said in plain
// sight, and never counts as passed.
func TestAPlatformThatNoNodeCanRunIsSkipped(t *testing.T) {
	const label = "emulation.basewright.dev/arm64"
	node := run(t, nil, kubectl, "get", "nodes", "-o", "jsonpath={.items[0].metadata.name}")
	run(t, nil, kubectl, "label", "node", node, label+"-")
	t.Cleanup(func() {
		if out, err := runIn(checkout, kubectl, "label", "node", node, label+"="); err != nil {
			t.Errorf("restoring the label: %v\n%s", err, out)
		}
	})
	image := strict(newNamespace(t), "half", "FROM scratch\n"+conforming)
	image.Spec.Platforms = nil
	create(t, image)
	ready := awaitReady(t, image)
	if ready.Status.Image.Tests != "1/2, 1 skipped" {
		t.Errorf("tests are %q", ready.Status.Image.Tests)
	}
	c := meta.FindStatusCondition(buildOf(t, ready).Status.Conditions, v1alpha1.ConditionTestsPassed)
	if c.Status != metav1.ConditionUnknown || c.Reason != v1alpha1.ReasonTestsSkipped || !strings.Contains(c.Message, label) {
		t.Errorf("TestsPassed is %s, %s: %s", c.Status, c.Reason, c.Message)
	}
}
