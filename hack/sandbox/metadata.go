//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// metadataAddress is where clouds tell their machines, and whoever asks from there, who they are. In the sandbox the node
// has it for itself: it is on no other network, and nothing is behind it.
var metadataAddress = netip.MustParseAddr("169.254.169.254")

const (
	// metadataToken stands for what somebody would be after. A test can look for it.
	metadataToken = "sandbox-metadata-token"
	metadataRole  = "sandbox-node"
	metadataLog   = "metadata.log"
	// longestWord bounds what one request can add to the log.
	longestWord = 256
)

// metadataServer answers like those of two clouds do, but also without the headers that they insist on, and writes down
// who asks.
type metadataServer struct {
	mu  sync.Mutex
	log io.Writer
}

// metadataAnswers are what it says, by method and path.
var metadataAnswers = map[string]string{
	"GET /":                      "latest\ncomputeMetadata/\n",
	"GET /latest/meta-data/":     "iam/\ninstance-id\n",
	"PUT /latest/api/token":      metadataToken,
	"GET /latest/meta-data/iam/": "security-credentials/\n",
	"GET /latest/meta-data/iam/security-credentials/": metadataRole,
	"GET /latest/meta-data/iam/security-credentials/" + metadataRole: `{"Code":"Success","Type":"AWS-HMAC","AccessKeyId":"ASIASANDBOX","SecretAccessKey":"` +
		metadataToken + `","Token":"` + metadataToken + `","Expiration":"2099-01-01T00:00:00Z"}`,
	"GET /computeMetadata/v1/instance/service-accounts/":                 "default/\n",
	"GET /computeMetadata/v1/instance/service-accounts/default/token":    `{"access_token":"` + metadataToken + `","expires_in":3599,"token_type":"Bearer"}`,
	"GET /computeMetadata/v1/instance/service-accounts/default/identity": metadataToken,
}

func (m *metadataServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.note(r)
	answer, ok := metadataAnswers[r.Method+" "+r.URL.Path]
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Metadata-Flavor", "Google")
	_, _ = io.WriteString(w, answer)
}

// note writes a line. Who is asked for is of interest too: a name may lead here.
func (m *metadataServer) note(r *http.Request) {
	line, err := json.Marshal(map[string]string{
		"time": time.Now().UTC().Format(time.RFC3339Nano), "from": r.RemoteAddr, "host": shorten(r.Host), "request": shorten(r.Method + " " + r.URL.Path),
	})
	if err != nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	fmt.Fprintf(m.log, "%s\n", line)
}

func shorten(text string) string { return text[:min(len(text), longestWord)] }
