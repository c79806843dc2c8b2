//go:build linux

package main

import (
	"path/filepath"
	"strings"
)

// daemon is one program that the node keeps running.
type daemon struct {
	Name string   `json:"name"`
	Path string   `json:"path"`
	Args []string `json:"args"`
	Env  []string `json:"env"`
	// Needs are addresses (host:port, unix:path or an https URL) that must
	// answer before it is started.
	Needs []string `json:"needs,omitempty"`
}

const (
	systemPath  = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	etcdAddress = "127.0.0.1:2379"
	olareg      = "127.0.0.1:5000"
	olaregPort  = "5000"
	// apiReady answers only after the first start's RBAC rules are made:
	// before, the other components would be refused, and give up.
	apiReady     = issuerURL + "/readyz"
	httpsPrefix  = "https:"
	unixPrefix   = "unix:"
	kubeconfigOf = "kubeconfig-"
)

// daemons lists the node's programs in the order of status.
func daemons(s site, b builds, d debian) []daemon {
	plain := []string{"PATH=" + systemPath, "HOME=/root", "TMPDIR=/run"}
	// Only programs that run unpacked ones may see their libraries.
	unpacked := []string{"PATH=" + d.path(), "LD_LIBRARY_PATH=" + d.libraries(), "HOME=/root", "TMPDIR=/run"}
	kube := func(name string) string { return b.bin("kube", name) }
	config := func(name string) string { return s.in("config", name) }
	return append([]daemon{
		{Name: "etcd", Path: kube("etcd"), Env: plain, Args: flags(
			"data-dir", s.in("etcd"),
			"listen-client-urls", "http://"+etcdAddress, "advertise-client-urls", "http://"+etcdAddress,
			"listen-peer-urls", "http://127.0.0.1:2380", "initial-advertise-peer-urls", "http://127.0.0.1:2380",
			"initial-cluster", "default=http://127.0.0.1:2380")},
		{Name: "kube-apiserver", Path: kube("kube-apiserver"), Env: plain, Needs: []string{etcdAddress}, Args: apiserverFlags(s)},
		{Name: "kube-controller-manager", Path: kube("kube-controller-manager"), Env: plain, Needs: []string{apiReady}, Args: controllerFlags(s)},
		{Name: "kube-scheduler", Path: kube("kube-scheduler"), Env: plain, Needs: []string{apiReady}, Args: componentFlags(config, "scheduler")},
		{Name: "containerd", Path: filepath.Join(d.root(), "usr/bin/containerd"), Env: unpacked, Args: flags("config", config("containerd.toml"))},
		{Name: "kubelet", Path: kube("kubelet"), Env: unpacked, Needs: []string{apiReady, unixPrefix + containerdSocket}, Args: flags(
			"config", config("kubelet.yaml"), "kubeconfig", config(kubeconfigOf+"kubelet"),
			"root-dir", "/var/lib/kubelet", "hostname-override", nodeName, "node-ip", nodeAddress.String(),
			// Runtime tests may come here: see registerEmulator.
			"node-labels", "emulation.basewright.dev/arm64=")},
		{Name: "kube-proxy", Path: kube("kube-proxy"), Env: unpacked, Needs: []string{apiReady}, Args: flags(
			"kubeconfig", config(kubeconfigOf+"proxy"), "hostname-override", nodeName, "proxy-mode", "nftables",
			"cluster-cidr", podRange.String(), "conntrack-max-per-core", "0")},
		{Name: netpolCommand, Path: s.program(), Env: unpacked, Needs: []string{apiReady}, Args: []string{netpolCommand, config(kubeconfigOf + netpolCommand)}},
		{Name: "registry", Path: b.bin("registry", "olareg"), Env: plain, Args: append([]string{"serve"}, flags(
			"addr", "127.0.0.1", "port", olaregPort, "dir", s.in("registry"), "api-delete", "true")...)},
		{Name: "front", Path: s.program(), Env: plain, Needs: []string{olareg}, Args: []string{serveCommand, s.state}},
	}, sigstoreDaemons(s, b, plain)...)
}

func apiserverFlags(s site) []string {
	pki := func(name string) string { return s.in("pki", name) }
	return flags(
		"etcd-servers", "http://"+etcdAddress,
		"bind-address", "0.0.0.0", "secure-port", apiPort, "advertise-address", nodeAddress.String(),
		"endpoint-reconciler-type", "lease",
		"allow-privileged", "true", "authorization-mode", "Node,RBAC",
		"enable-admission-plugins", "NodeRestriction",
		"service-cluster-ip-range", serviceRange.String(),
		"tls-cert-file", pki("apiserver.crt"), "tls-private-key-file", pki("apiserver.key"),
		"client-ca-file", pki("ca.crt"),
		"service-account-issuer", issuerURL, "service-account-jwks-uri", issuerURL+"/openid/v1/jwks",
		"service-account-key-file", pki("service-accounts.pub"), "service-account-signing-key-file", pki("service-accounts.key"),
		"kubelet-preferred-address-types", "InternalIP", "kubelet-certificate-authority", pki("ca.crt"),
		"kubelet-client-certificate", pki("apiserver-kubelet-client.crt"), "kubelet-client-key", pki("apiserver-kubelet-client.key"),
		"requestheader-client-ca-file", pki("front-proxy-ca.crt"), "requestheader-allowed-names", "front-proxy-client",
		"requestheader-username-headers", "X-Remote-User", "requestheader-group-headers", "X-Remote-Group",
		"requestheader-extra-headers-prefix", "X-Remote-Extra-",
		"proxy-client-cert-file", pki("front-proxy.crt"), "proxy-client-key-file", pki("front-proxy.key"))
}

func controllerFlags(s site) []string {
	pki := func(name string) string { return s.in("pki", name) }
	config := func(name string) string { return s.in("config", name) }
	return append(componentFlags(config, "controller-manager"), flags(
		"use-service-account-credentials", "true", "service-account-private-key-file", pki("service-accounts.key"),
		"root-ca-file", pki("ca.crt"), "cluster-signing-cert-file", pki("ca.crt"), "cluster-signing-key-file", pki("ca.key"))...)
}

// componentFlags are what the controller-manager and the scheduler share.
func componentFlags(config func(string) string, who string) []string {
	file := config(kubeconfigOf + who)
	return flags("kubeconfig", file, "authentication-kubeconfig", file, "authorization-kubeconfig", file,
		"bind-address", "127.0.0.1", "leader-elect", "false")
}

// flags turns names and values into --name=value arguments.
func flags(pairs ...string) []string {
	var args []string
	for i := 0; i+1 < len(pairs); i += 2 {
		args = append(args, "--"+pairs[i]+"="+pairs[i+1])
	}
	return args
}

// dialAddress splits one of Needs into the arguments of a dialer.
func dialAddress(need string) (network, address string) {
	if path, ok := strings.CutPrefix(need, unixPrefix); ok {
		return "unix", path
	}
	return "tcp", need
}
