//go:build linux

package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"time"
)

//go:embed manifests/sandbox.yaml
var manifestTemplate string

// manifests are the objects that make the cluster usable.
func manifests() []byte {
	// A changed configuration has to start CoreDNS anew.
	sum := sha256.Sum256([]byte(manifestTemplate))
	return render("manifests", manifestTemplate, map[string]any{
		"Node": nodeAddress, "Hosts": strings.Join(sandboxHosts, " "), "DNS": dnsService,
		"Image": registryHost + "/sandbox/coredns:" + coreDNSVersion, "Hash": hex.EncodeToString(sum[:8]),
	})
}

// cluster talks to the apiserver as the administrator.
type cluster struct {
	client  *http.Client
	kubectl string
	config  string
}

func newCluster(s site, b builds) (cluster, error) {
	transport, err := sandboxTransport(s)
	if err != nil {
		return cluster{}, err
	}
	admin, err := tls.LoadX509KeyPair(s.in("pki", "admin.crt"), s.in("pki", "admin.key"))
	if err != nil {
		return cluster{}, fmt.Errorf("reading the administrator's certificate: %w", err)
	}
	transport.TLSClientConfig.Certificates = []tls.Certificate{admin}
	return cluster{
		client:  &http.Client{Transport: transport, Timeout: 10 * time.Second},
		kubectl: b.bin("kube", "kubectl"), config: s.in("admin.kubeconfig"),
	}, nil
}

// get reads an object, or any text if into is nil.
func (c cluster) get(ctx context.Context, path string, into any) error {
	return getURL(ctx, c.client, issuerURL+path, into)
}

func getURL(ctx context.Context, client *http.Client, url string, into any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, 4<<20))
	if err != nil {
		return fmt.Errorf("reading %s: %w", url, err)
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %s: %.200s", url, response.Status, body)
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(body, into)
}

// apply brings the manifests into the cluster.
func (c cluster) apply(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, c.kubectl, "--kubeconfig", c.config, "apply", "--server-side", "--force-conflicts", "--filename", "-")
	cmd.Stdin = bytes.NewReader(manifests())
	// Another proxy or configuration of the caller is not meant for this.
	cmd.Env = []string{"HOME=/nonexistent", "NO_PROXY=*"}
	return runQuietly(cmd)
}

// nodeObject is what we need to know of a Node.
type nodeObject struct {
	Status struct {
		Conditions []struct {
			Type, Status, Message string
			LastHeartbeatTime     time.Time
		}
		NodeInfo struct{ KubeletVersion, ContainerRuntimeVersion, KernelVersion, OSImage string }
	}
}

// checkNode tells whether the node is ready, by the word of a kubelet that was
// started at or after since: the cluster remembers an earlier one's.
func (c cluster) checkNode(ctx context.Context, since time.Time) error {
	var node nodeObject
	if err := c.get(ctx, "/api/v1/nodes/"+nodeName, &node); err != nil {
		return err
	}
	for _, condition := range node.Status.Conditions {
		if condition.Type != "Ready" {
			continue
		}
		if condition.LastHeartbeatTime.Before(since.Truncate(time.Second)) {
			return errors.New("its kubelet has not reported yet")
		}
		if condition.Status != "True" {
			return errors.New(condition.Message)
		}
		return nil
	}
	return errors.New("it has no condition Ready")
}

// checkDNS asks the cluster's DNS, through its Service, as a pod would.
func checkDNS(ctx context.Context) error {
	resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		var dialer net.Dialer
		return dialer.DialContext(ctx, network, net.JoinHostPort(dnsService.String(), "53"))
	}}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	for host, want := range map[string]string{
		registryHost: nodeAddress.String(), "kubernetes.default.svc.cluster.local.": kubeService.String(),
	} {
		addresses, err := resolver.LookupHost(ctx, host)
		if err != nil {
			return fmt.Errorf("asking the cluster's DNS: %w", err)
		}
		if !slices.Contains(addresses, want) {
			return fmt.Errorf("the cluster's DNS says that %s is at %s, not %s", host, addresses, want)
		}
	}
	return nil
}

// checkAccount tells whether pods can be made in the namespace default.
func (c cluster) checkAccount(ctx context.Context) error {
	return c.get(ctx, "/api/v1/namespaces/default/serviceaccounts/default", nil)
}

// checkFront tells whether the registry answers.
func checkFront(ctx context.Context, s site) error {
	return checkURL(ctx, s, "https://"+registryHost+"/v2/")
}

// checkURL tells whether one of the sandbox's servers answers, to anybody.
func checkURL(ctx context.Context, s site, url string) error {
	transport, err := sandboxTransport(s)
	if err != nil {
		return err
	}
	defer transport.CloseIdleConnections()
	return getURL(ctx, &http.Client{Transport: transport, Timeout: 5 * time.Second}, url, nil)
}
