//go:build linux

package main

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"text/template"
)

const (
	containerdSocket = "/run/containerd/containerd.sock"
	cgroupName       = "basewright-sandbox"
	pauseImage       = registryHost + "/sandbox/pause:1"
)

// render fills a template that is part of this program, so that a mistake in
// it is a mistake of ours.
func render(name, text string, data any) []byte {
	var out bytes.Buffer
	if err := template.Must(template.New(name).Option("missingkey=error").Parse(text)).Execute(&out, data); err != nil {
		panic(fmt.Sprintf("rendering %s: %v", name, err))
	}
	return out.Bytes()
}

// containerdOptions are what the node's containerd has to know.
type containerdOptions struct {
	Root, CNIBin, CNIConf, Certs, Socket, Pause string
	// OldBin is set for 2.0, where there is one directory of CNI plugins;
	// 2.1 took a list instead, and 2.4 nothing else.
	OldBin bool
}

// The two layouts of containerd's settings: up to 1.7, and from 2.0 on. An
// AppArmor profile would be loaded into the host's kernel and stay there.
const (
	containerdV2 = `version = 2
root = "{{.Root}}"
state = "/run/containerd"
oom_score = 0

[grpc]
  address = "{{.Socket}}"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{{.Pause}}"
  restrict_oom_score_adj = true
  disable_hugetlb_controller = true
  disable_apparmor = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{{.CNIBin}}"
    conf_dir = "{{.CNIConf}}"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "{{.Certs}}"
`
	containerdV3 = `version = 3
root = "{{.Root}}"
state = "/run/containerd"
oom_score = 0

[grpc]
  address = "{{.Socket}}"

[plugins."io.containerd.cri.v1.images"]
  snapshotter = "overlayfs"
  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = "{{.Pause}}"
  [plugins."io.containerd.cri.v1.images".registry]
    config_path = "{{.Certs}}"

[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
  disable_hugetlb_controller = true
  disable_apparmor = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
      SystemdCgroup = false
  [plugins."io.containerd.cri.v1.runtime".cni]
    {{if .OldBin}}bin_dir = "{{.CNIBin}}"{{else}}bin_dirs = ["{{.CNIBin}}"]{{end}}
    conf_dir = "{{.CNIConf}}"
`
)

// containerdVersion is what decides how containerd is configured.
type containerdVersion struct{ major, minor int }

// containerdConfig is the configuration for one version of containerd.
func containerdConfig(v containerdVersion, options containerdOptions) []byte {
	if v.major < 2 {
		return render("containerd 1", containerdV2, options)
	}
	options.OldBin = v == containerdVersion{2, 0}
	return render("containerd 2", containerdV3, options)
}

var versionPattern = regexp.MustCompile(`\bv?(\d+)\.(\d+)\.\d+`)

// parseContainerdVersion reads the output of "containerd --version".
func parseContainerdVersion(output string) (containerdVersion, error) {
	match := versionPattern.FindStringSubmatch(output)
	if match == nil {
		return containerdVersion{}, fmt.Errorf("containerd says %q, which holds no version", output)
	}
	major, majorErr := strconv.Atoi(match[1])
	minor, minorErr := strconv.Atoi(match[2])
	return containerdVersion{major, minor}, errors.Join(majorErr, minorErr)
}

// registryHosts makes containerd trust the sandbox's CA for its registry.
func registryHosts(ca string) []byte {
	return render("hosts.toml", `server = "https://{{.Host}}"

[host."https://{{.Host}}"]
  capabilities = ["pull", "resolve"]
  ca = "{{.CA}}"
`, map[string]string{"Host": registryHost, "CA": ca})
}

// cniConfig connects each pod by a cable of its own to the node, which routes.
// With a bridge, what pods say to each other through a Service would pass by
// the node's connection tracking unless the host has br_netfilter.
func cniConfig() []byte {
	return render("cni", `{
  "cniVersion": "{{.Version}}",
  "name": "basewright",
  "plugins": [
    {
      "type": "ptp",
      "ipMasq": false,
      "ipam": {
        "type": "host-local",
        "dataDir": "/run/cni",
        "ranges": [[{"subnet": "{{.Pods}}"}]],
        "routes": [{"dst": "0.0.0.0/0"}]
      }
    },
    {"type": "{{.Netpol}}"}
  ]
}
`, map[string]any{"Pods": podRange, "Version": cniVersion, "Netpol": netpolPlugin})
}

// kubeletConfig is for a node whose cgroups are not delegated by systemd and
// whose disk belongs to somebody else's machine.
func kubeletConfig(pki, resolvConf string, userNamespace bool) []byte {
	return render("kubelet", `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: 0.0.0.0
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: {{.PKI}}/ca.crt}
authorization: {mode: Webhook}
tlsCertFile: {{.PKI}}/kubelet.crt
tlsPrivateKeyFile: {{.PKI}}/kubelet.key
containerRuntimeEndpoint: unix://{{.Socket}}
cgroupDriver: cgroupfs
cgroupRoot: /{{.Cgroup}}
cgroupsPerQOS: true
enforceNodeAllocatable: []
failCgroupV1: false
failSwapOn: false
featureGates: {KubeletInUserNamespace: {{.UserNamespace}}}
clusterDNS: [{{.DNS}}]
clusterDomain: cluster.local
resolvConf: {{.ResolvConf}}
serializeImagePulls: false
syncFrequency: 10s
# The disk is the developer's: only a full one is a reason to evict.
evictionHard: {nodefs.available: "1%", imagefs.available: "1%", memory.available: "50Mi"}
imageGCHighThresholdPercent: 99
imageGCLowThresholdPercent: 98
`, map[string]any{
		"PKI": pki, "Socket": containerdSocket, "Cgroup": cgroupName, "DNS": dnsService,
		"ResolvConf": resolvConf, "UserNamespace": userNamespace,
	})
}

// kubeconfig gives one of the identities access to the apiserver. Everything
// is embedded, so that the file works wherever it is copied.
func kubeconfig(pki, server, who string) ([]byte, error) {
	data := map[string]string{"Server": server, "User": who}
	for field, file := range map[string]string{"CA": "ca.crt", "Cert": who + ".crt", "Key": who + ".key"} {
		content, err := os.ReadFile(pki + "/" + file)
		if err != nil {
			return nil, fmt.Errorf("making the kubeconfig of %s: %w", who, err)
		}
		data[field] = base64.StdEncoding.EncodeToString(content)
	}
	return render("kubeconfig", `apiVersion: v1
kind: Config
clusters:
- name: basewright
  cluster:
    server: {{.Server}}
    certificate-authority-data: {{.CA}}
users:
- name: {{.User}}
  user:
    client-certificate-data: {{.Cert}}
    client-key-data: {{.Key}}
contexts:
- name: basewright
  context: {cluster: basewright, user: {{.User}}}
current-context: basewright
`, data), nil
}
