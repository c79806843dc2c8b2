//go:build linux

package main

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestParseContainerdVersion(t *testing.T) {
	for name, test := range map[string]struct {
		output string
		want   containerdVersion
		fails  bool
	}{
		"Debian 12":         {"containerd github.com/containerd/containerd 1.6.20~ds1 1.6.20~ds1-1+deb12u3", containerdVersion{1, 6}, false},
		"Debian 13":         {"containerd github.com/containerd/containerd 1.7.24~ds1 1.7.24~ds1-6+deb13u1+b1", containerdVersion{1, 7}, false},
		"upstream 2":        {"containerd github.com/containerd/containerd/v2 v2.1.3 c787fb98911740dd3ff2d0e45ce88cdf01410486", containerdVersion{2, 1}, false},
		"no version at all": {"containerd: not found", containerdVersion{}, true},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseContainerdVersion(test.output)
			if got != test.want || (err != nil) != test.fails {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
}

func TestContainerdConfig(t *testing.T) {
	options := containerdOptions{Root: "/r", CNIBin: "/b", CNIConf: "/c", Certs: "/certs", Socket: "/s", Pause: "pause:1"}
	for name, test := range map[string]struct {
		version containerdVersion
		want    []string
	}{
		"version 1 has one CRI plugin": {containerdVersion{1, 6}, []string{
			"version = 2\n", `[plugins."io.containerd.grpc.v1.cri".registry]` + "\n    config_path = \"/certs\"",
			`sandbox_image = "pause:1"`, `bin_dir = "/b"`, `conf_dir = "/c"`,
		}},
		"version 2.0 has two": {containerdVersion{2, 0}, []string{
			"version = 3\n", `[plugins."io.containerd.cri.v1.images".registry]` + "\n    config_path = \"/certs\"",
			`[plugins."io.containerd.cri.v1.images".pinned_images]` + "\n    sandbox = \"pause:1\"", `bin_dir = "/b"`, `conf_dir = "/c"`,
		}},
		"later ones take a list of directories": {containerdVersion{2, 1}, []string{"version = 3\n", `bin_dirs = ["/b"]`}},
	} {
		t.Run(name, func(t *testing.T) {
			got := string(containerdConfig(test.version, options))
			for _, want := range append(test.want, `root = "/r"`, `address = "/s"`, "disable_apparmor = true", "SystemdCgroup = false") {
				if !strings.Contains(got, want) {
					t.Errorf("there is no %q in:\n%s", want, got)
				}
			}
		})
	}
}

func TestCNIConfigIsForTheRangeOfPods(t *testing.T) {
	var config struct {
		Name    string
		Plugins []struct {
			Type   string
			IPMasq bool
			IPAM   struct{ Ranges [][]struct{ Subnet string } }
		}
	}
	if err := json.Unmarshal(cniConfig(), &config); err != nil {
		t.Fatal(err)
	}
	if len(config.Plugins) != 2 || config.Plugins[1].Type != netpolPlugin || config.Plugins[0].IPMasq || config.Plugins[0].IPAM.Ranges[0][0].Subnet != podRange.String() {
		t.Errorf("got %+v", config)
	}
}

func TestKubeletConfig(t *testing.T) {
	for _, userNamespace := range []bool{false, true} {
		got := string(kubeletConfig("/pki", "/resolv", userNamespace))
		want := "{KubeletInUserNamespace: false}"
		if userNamespace {
			want = "{KubeletInUserNamespace: true}"
		}
		for _, text := range []string{want, "cgroupRoot: /" + cgroupName, "resolvConf: /resolv", "clusterDNS: [" + dnsService.String() + "]"} {
			if !strings.Contains(got, text) {
				t.Errorf("there is no %q in:\n%s", text, got)
			}
		}
	}
}

func TestAddressesDoNotOverlap(t *testing.T) {
	if linkRange.Overlaps(podRange) || podRange.Overlaps(serviceRange) || linkRange.Overlaps(serviceRange) {
		t.Error("the ranges overlap")
	}
	if !linkRange.Contains(nodeAddress) || !linkRange.Contains(hostAddress) || !serviceRange.Contains(kubeService) || !serviceRange.Contains(dnsService) {
		t.Error("an address is outside of its range")
	}
	for _, r := range []string{linkRange.String(), podRange.String(), serviceRange.String()} {
		if !strings.HasPrefix(r, "10.231.") {
			t.Errorf("%s is outside of %s", r, sandboxRange)
		}
	}
}
