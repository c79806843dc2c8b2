package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseNamesValuesThatAreWrong(t *testing.T) {
	labels := strings.Repeat("a", 64)
	tests := map[string]struct {
		content string
		want    []string
	}{
		"another version": {strings.Replace(good, "v1alpha1", "v1", 1), []string{`line 1: apiVersion: "config.basewright.dev/v1" must be "config.basewright.dev/v1alpha1"`}},
		"another kind":    {strings.Replace(good, Kind, "Config", 1), []string{`line 2: kind: "Config" must be "OperatorConfiguration"`}},
		"no images":       {head, []string{"images.kaniko: is required", "images.worker: is required", "images.syft: is required", "images.trivy: is required", "images.grype: is required"}},
		"one image":       {head + "images: {kaniko: a.b/c:1, " + scanners + "}", []string{"line 3: images.worker: is required"}},
		"scanners that are none": {head + "images: {kaniko: a.b/c:1, worker: a.b/c:1, syft: a.b/C:1, trivy: a.b/c, grype: a.b/c:latest}", []string{
			`line 3: images.syft: "a.b/C:1" is not an image reference`,
			`line 3: images.trivy: "a.b/c" has no version: give a tag other than latest, or best a digest`,
			`line 3: images.grype: "a.b/c:latest" has no version: give a tag other than latest, or best a digest`}},
		"images that are none": {head + "images: {kaniko: a.b/C:1, worker: 'a.b/c@sha256:1', " + scanners + "}", []string{
			`line 3: images.kaniko: "a.b/C:1" is not an image reference`, `line 3: images.worker: "a.b/c@sha256:1" is not an image reference`}},
		"images without a version": {head + "images: {" + scanners + ",\n  kaniko: a.b/c,\n  worker: 'a.b/c:latest'}\n", []string{
			`line 4: images.kaniko: "a.b/c" has no version: give a tag other than latest, or best a digest`,
			`line 5: images.worker: "a.b/c:latest" has no version: give a tag other than latest, or best a digest`}},
		"authorities that are none": {good + "registries: {caBundle: x}", []string{"line 6: registries.caBundle: has no PEM certificate"}},
		"authorities that are half one": {good + "registries: {caBundle: \"-----BEGIN CERTIFICATE-----\\nAA==\\n-----END CERTIFICATE-----\\n\"}",
			[]string{"line 6: registries.caBundle: PEM block 1 (CERTIFICATE) is not a certificate"}},
		"too many authorities": {good + "registries: {caBundle: " + strings.Repeat("x", 256<<10+1) + "}",
			[]string{"line 6: registries.caBundle: has 262145 bytes, at most 262144 are allowed"}},
		"mirrors that are half one": {good + "registries:\n  mirrors:\n  - endpoint: a.b/c\n  - prefix: quay.io\n", []string{
			"line 8: registries.mirrors[0].prefix: is required", "line 9: registries.mirrors[1].endpoint: is required"}},
		"a mirror without a registry": {good + "registries: {mirrors: [{prefix: library, endpoint: a.b}]}",
			[]string{`line 6: registries.mirrors[0].prefix: "library" does not begin with a registry host, for example docker.io`}},
		"a mirror that is a URL": {good + "registries: {mirrors: [{prefix: docker.io, endpoint: 'https://a.b'}]}",
			[]string{`line 6: registries.mirrors[0].endpoint: "https://a.b" does not begin with a registry host, for example docker.io`}},
		"a mirror with a tag": {good + "registries: {mirrors: [{prefix: 'docker.io/library/alpine:3', endpoint: a.b/}]}", []string{
			`line 6: registries.mirrors[0].prefix: "docker.io/library/alpine:3" is not of the form host/path`,
			`line 6: registries.mirrors[0].endpoint: "a.b/" is not of the form host/path`}},
		"a mirror twice": {good + "registries:\n  mirrors:\n  - {prefix: docker.io/x, endpoint: a.b}\n  - {prefix: index.docker.io/x, endpoint: c.d}\n",
			[]string{`line 9: registries.mirrors[1].prefix: "index.docker.io/x" is that of registries.mirrors[0], too`}},
		"a token service without a registry": {good + "registries: {tokenHosts: [{host: a.b/c}]}", []string{
			"line 6: registries.tokenHosts[0].registry: is required",
			`line 6: registries.tokenHosts[0].host: "a.b/c" is not a host: give a name such as registry.example or registry.example:5000`}},
		"no builds at all": {good + "builds: {maxConcurrent: 0}", []string{"line 6: builds.maxConcurrent: 0 must be between 1 and 1000"}},
		"too many builds":  {good + "builds: {maxConcurrent: 1001}", []string{"line 6: builds.maxConcurrent: 1001 must be between 1 and 1000"}},
		"databases from nowhere": {good + "databases: {trivy: {location: ''}, grype: {location: 'ftp://a.b/c'}, maxAge: 59m}", []string{
			"line 6: databases.trivy.location: is required",
			`line 6: databases.grype.location: "ftp://a.b/c" is not of the form oci://host/repository:tag or https://host/path`,
			"line 6: databases.maxAge: 59m must be between 1h and 8760h"}},
		"databases without TLS or version": {good + "databases: {trivy: {location: 'oci://a.b/c'}, grype: {location: 'http://a.b/c'}, maxAge: 8761h}", []string{
			`line 6: databases.trivy.location: "oci://a.b/c" has no version: give a tag other than latest, or a digest`,
			`line 6: databases.grype.location: "http://a.b/c" is not of the form oci://host/repository:tag or https://host/path`,
			"line 6: databases.maxAge: 8761h must be between 1h and 8760h"}},
		"databases of Docker Hub by the short name": {good + "databases: {trivy: {location: 'oci://aquasec/trivy-db:2'}, grype: {location: 'oci://a.b/C:1'}}", []string{
			`line 6: databases.trivy.location: "oci://aquasec/trivy-db:2" is not of the form oci://host/repository:tag`,
			`line 6: databases.grype.location: "oci://a.b/C:1" is not of the form oci://host/repository:tag`}},
		"databases with credentials": {good + "databases: {trivy: {location: 'https://user:secret@a.b/c'}, grype: {location: 'https://a.b/c?sig=secret'}}", []string{
			"line 6: databases.trivy.location: has a user, a query or a fragment, which are not sent",
			"line 6: databases.grype.location: has a user, a query or a fragment, which are not sent"}},
		"a GitHub of no use": {good + "github: {apiURL: 'oci://a.b/c:1'}", []string{
			`line 6: github.apiURL: "oci://a.b/c:1" is not of the form https://host/path`}},
		"an image without layers": {good + "defaults: {maxImageSize: 0}", []string{"line 6: defaults.maxImageSize: 0 must be between 1 and 64Gi"}},
		"an image without end":    {good + "defaults: {maxImageSize: 65Gi}", []string{"line 6: defaults.maxImageSize: 65Gi must be between 1 and 64Gi"}},
		"a limit of 0":            {good + "limits: {build: {messageLines: 0}}", []string{"line 6: limits.build.messageLines: 0 must be more than 0"}},
		"a limit that is a typo":  {good + "limits:\n  registry:\n    manifestBytes: 256Gi\n", []string{"line 8: limits.registry.manifestBytes: 256Gi is more than the hard maximum of 64Mi"}},
		"defaults that the API would refuse, below": {
			good + "defaults: {jitter: -1s, startingDeadline: 59s, timeout: 0s, retries: -1, sourcePollInterval: 59s, upstreamPollInterval: -1m}", []string{
				"line 6: defaults.jitter: -1s must be between 0s and 24h",
				"line 6: defaults.startingDeadline: 59s must be between 1m and 168h",
				"line 6: defaults.timeout: 0s must be between 1m and 24h",
				"line 6: defaults.retries: -1 must be between 0 and 10",
				"line 6: defaults.sourcePollInterval: 59s must be 0s, or between 1m and 168h",
				"line 6: defaults.upstreamPollInterval: -1m must be 0s, or between 1m and 168h"}},
		"defaults that the API would refuse, above": {
			good + "defaults: {jitter: 25h, startingDeadline: 169h, timeout: 1441m, retries: 11, sourcePollInterval: 169h, upstreamPollInterval: 169h}", []string{
				"line 6: defaults.jitter: 25h must be between 0s and 24h",
				"line 6: defaults.startingDeadline: 169h must be between 1m and 168h",
				"line 6: defaults.timeout: 24h1m must be between 1m and 24h",
				"line 6: defaults.retries: 11 must be between 0 and 10",
				"line 6: defaults.sourcePollInterval: 169h must be 0s, or between 1m and 168h",
				"line 6: defaults.upstreamPollInterval: 169h must be 0s, or between 1m and 168h"}},
		"resources that no pod could have": {good + `defaults:
  buildPods:
    resources:
      requests: {cpu: 2, memory: 1Gi, example.com/gpu: 1}
      limits:
        cpu: 1
        memory: -1
        memroy: 1Gi
        hugepages-2Mi: 2Mi
        a/b/c: 1
      claims: [{name: a}]
`, []string{
			"line 9: defaults.buildPods.resources.requests[cpu]: 2 is more than the limit of 1",
			"line 9: defaults.buildPods.resources.requests[memory]: 1Gi is more than the limit of -1",
			"line 12: defaults.buildPods.resources.limits[memory]: -1 must not be negative",
			"line 13: defaults.buildPods.resources.limits[memroy]: is not a resource of containers: cpu, memory, ephemeral-storage, hugepages-<size> or one with a domain, such as example.com/gpu",
			"line 15: defaults.buildPods.resources.limits[a/b/c]: is not a resource of containers: cpu, memory, ephemeral-storage, hugepages-<size> or one with a domain, such as example.com/gpu",
			"line 16: defaults.buildPods.resources.claims: are not supported: build pods claim no devices"}},
		"tolerations that no pod could have": {good + `defaults:
  buildPods:
    tolerations:
    - {operator: Exists, value: a}
    - {value: a}
    - {key: a, operator: exists, effect: NoRun}
    - {key: a, operator: Gt, value: b, effect: NoSchedule, tolerationSeconds: 1}
`, []string{
			"line 9: defaults.buildPods.tolerations[0].value: must be empty if operator is Exists",
			"line 10: defaults.buildPods.tolerations[1].key: is required unless operator is Exists",
			`line 11: defaults.buildPods.tolerations[2].operator: "exists" must be Equal, Exists, Lt or Gt`,
			`line 11: defaults.buildPods.tolerations[2].effect: "NoRun" must be NoSchedule, PreferNoSchedule or NoExecute`,
			`line 12: defaults.buildPods.tolerations[3].value: "b" must be a whole number if operator is Gt`,
			"line 12: defaults.buildPods.tolerations[3].tolerationSeconds: needs the effect NoExecute"}},
		"too many tolerations": {good + "defaults: {buildPods: {tolerations: [" + strings.Repeat("{operator: Exists}, ", 33) + "]}}",
			[]string{"line 6: defaults.buildPods.tolerations: has 33 items, at most 32 are allowed"}},
		"too many labels": {good + "defaults: {buildPods: {nodeSelector: {" + manyLabels(33) + "}}}",
			[]string{"line 6: defaults.buildPods.nodeSelector: has 33 labels, at most 32 are allowed"}},
		"labels that are none": {good + "defaults: {buildPods: {nodeSelector: {a_b/c: d, e: " + labels + "}, tolerations: [{key: -a, value: b c}]}}", []string{
			`line 6: defaults.buildPods.nodeSelector[a_b/c]: "a_b/c" is not the key of a label: prefix part`,
			`line 6: defaults.buildPods.nodeSelector[e]: "` + labels + `" is not the value of a label: must be no more than 63`,
			`line 6: defaults.buildPods.tolerations[0].key: "-a" is not the key of a label: name part`,
			`line 6: defaults.buildPods.tolerations[0].value: "b c" is not the value of a label: a valid label`}},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			got := problems(tt.content)
			for i := range min(len(got), len(tt.want)) {
				// The ends of what Kubernetes says of labels are its own affair.
				if strings.Contains(tt.want[i], "of a label: ") {
					got[i] = got[i][:min(len(got[i]), len(tt.want[i]))]
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func manyLabels(n int) string {
	var all []string
	for i := range n {
		all = append(all, "l"+strings.Repeat("x", i)+": a")
	}
	return strings.Join(all, ", ")
}

func TestBoundsAreInside(t *testing.T) {
	for desc, rest := range map[string]string{
		"the least": "builds: {maxConcurrent: 1}\ndefaults: {jitter: 0s, startingDeadline: 1m, timeout: 1m, retries: 0, sourcePollInterval: 1m, upstreamPollInterval: 0s}",
		"the most":  "builds: {maxConcurrent: 1000}\ndefaults: {jitter: 24h, startingDeadline: 168h, timeout: 24h, retries: 10, sourcePollInterval: 168h, upstreamPollInterval: 168h}",
		"requests as large as the limits": "defaults: {buildPods: {resources: {requests: {cpu: 1}, limits: {cpu: 1000m}}, nodeSelector: {" + manyLabels(32) + "}, " +
			"tolerations: [" + strings.Repeat("{operator: Exists}, ", 32) + "]}}",
		"databases of all kinds":   "databases: {trivy: {location: 'oci://localhost:5000/a/b:2'}, grype: {location: 'https://a.b:8443/c/db.tar.zst'}, maxAge: 1h}\ndefaults: {maxImageSize: 1}",
		"the oldest database":      "databases: {maxAge: 8760h}\ndefaults: {maxImageSize: 64Gi}",
		"mirrors of all kinds":     "registries: {mirrors: [{prefix: docker.io/library/alpine, endpoint: localhost/hub}, {prefix: quay.io, endpoint: 'a.b:5000'}]}",
		"tolerations of all kinds": "defaults: {buildPods: {tolerations: [{key: a}, {key: a, operator: Equal, value: b, effect: NoSchedule}, {key: a, operator: Lt, value: '-5'}, {effect: PreferNoSchedule, operator: Exists}]}}",
	} {
		t.Run(desc, func(t *testing.T) {
			if got := problems(good + rest); got != nil {
				t.Error(got)
			}
		})
	}
}

func TestIsHost(t *testing.T) {
	for _, host := range []string{"localhost", "registry.example", "Registry.Example.", "a_b.example", "registry.example:1", "registry.example:65535",
		"10.0.0.1", "10.0.0.1:5000", "fd00::1", "[fd00::1]", "[fd00::1]:443"} {
		if !isHost(host) {
			t.Errorf("%q is a host", host)
		}
	}
	for _, host := range []string{"", " ", "exa mple", "https://a.b", "a.b/c", "*.example", "a.b:", "a.b:0", "a.b:65536", "a.b:http", "user@a.b", "a.b?c", "a.b#c", ":443",
		"-a.b", "a.b-", "[a.b]", "[fd00::1", "[fd00::1]x", "[fe80::1%25eth0]", "a,b", "ä.example", strings.Repeat("a", 254)} {
		if isHost(host) {
			t.Errorf("%q is no host", host)
		}
	}
}
