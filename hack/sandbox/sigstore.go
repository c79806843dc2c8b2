//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// The sandbox has a Sigstore of its own. Rekor and the CT log keep their trees in memory, each with a Trillian in its own
// process: what they knew ends with them, but their keys stay, and with those whatever they have signed.
const (
	fulcioHost    = "fulcio.basewright.test"
	rekorHost     = "rekor.basewright.test"
	timestampHost = "timestamp.basewright.test"
	// ctlogHost is there for Fulcio, so that the log can be made unreachable.
	ctlogHost = "ctlog.basewright.test"

	timestampURL = "https://" + timestampHost + "/api/v1/timestamp"
	ctlogPrefix  = "ctfe"
	// issuerDiscovery is open to everybody once up has said so.
	issuerDiscovery = issuerURL + "/.well-known/openid-configuration"
	// signingAudience is what a token has to be for, to be good for a certificate.
	signingAudience = "sigstore"
)

// sigstoreService is one of the servers behind the front.
type sigstoreService struct {
	name, host, port string
	// probe is a path that it answers to anybody.
	probe string
}

func (s sigstoreService) address() string { return "127.0.0.1:" + s.port }

var sigstoreServices = []sigstoreService{
	{name: "fulcio", host: fulcioHost, port: "5555", probe: "/api/v2/configuration"},
	{name: "rekor", host: rekorHost, port: "3000", probe: "/api/v1/log"},
	{name: "ctlog", host: ctlogHost, port: "6962", probe: "/" + ctlogPrefix + "/ct/v1/get-sth"},
	{name: "timestamp", host: timestampHost, port: "3004", probe: "/api/v1/timestamp/certchain"},
}

// serviceNamed is for services that are in the table.
func serviceNamed(name string) sigstoreService {
	return sigstoreServices[slices.IndexFunc(sigstoreServices, func(s sigstoreService) bool { return s.name == name })]
}

// fulcioConfig makes the apiserver's ServiceAccounts those that get certificates.
func fulcioConfig() []byte {
	return render("fulcio", `oidc-issuers:
  {{.Issuer}}:
    issuer-url: {{.Issuer}}
    client-id: {{.Audience}}
    type: kubernetes
`, map[string]string{"Issuer": issuerURL, "Audience": signingAudience})
}

// sigstoreDaemons are the servers. Fulcio asks for the keys of its issuer when it starts, and the others when it needs them.
func sigstoreDaemons(s site, b builds, plain []string) []daemon {
	pki := func(name string) string { return s.in("pki", name) }
	program := func(name string) string { return b.bin("sigstore", name) }
	fulcio, rekor, ctlog, timestamp := serviceNamed("fulcio"), serviceNamed("rekor"), serviceNamed("ctlog"), serviceNamed("timestamp")
	return []daemon{
		{Name: fulcio.name, Path: program("fulcio"), Env: append([]string{"SSL_CERT_FILE=" + pki("ca.crt")}, plain...), Needs: []string{issuerDiscovery},
			Args: append([]string{"serve"}, flags(
				"host", "127.0.0.1", "port", fulcio.port, "grpc-host", "127.0.0.1", "grpc-port", "5554", "metrics-port", "0", // any
				"config-path", s.in("config", "fulcio.yaml"), "ct-log-url", "https://"+ctlogHost+"/"+ctlogPrefix,
				// It insists on a password, of a key that has none.
				"ca", "fileca", "fileca-cert", pki("fulcio.crt"), "fileca-key", pki("fulcio.key"), "fileca-key-passwd", "none", "fileca-watch", "false")...)},
		{Name: rekor.name, Path: program("rekor"), Env: plain, Args: append([]string{"serve"}, flags(
			"rekor_server.address", "127.0.0.1", "port", rekor.port, "rekor_server.hostname", rekorHost, "rekor_server.signer", pki("rekor.key"),
			// Without a search by content, for which there would have to be a database.
			"enable_retrieve_api", "false",
			"enabled_api_endpoints", "getLogInfo,getPublicKey,getLogProof,createLogEntry,getLogEntryByIndex,getLogEntryByUUID,searchLogQuery")...)},
		{Name: ctlog.name, Path: program("ctlog"), Env: plain, Args: flags(
			"address", ctlog.address(), "prefix", ctlogPrefix, "key", pki("ctlog.key"), "roots", pki("fulcio.crt"))},
		{Name: timestamp.name, Path: program("timestamp"), Env: plain, Args: flags(
			"port", timestamp.port, "key", pki("timestamp.key"), "chain", pki("timestamp-chain.crt"))},
	}
}

// The states that the subcommand sigstore switches between.
const (
	started = "start"
	stopped = "stop"    // every connection is broken
	garbage = "garbage" // an answer that means nothing
	slow    = "slow"    // no answer
)

// runSigstore is the subcommand sigstore.
func runSigstore(_ context.Context, args []string) error {
	if len(args) != 2 || !isState(args[1]) ||
		!slices.ContainsFunc(sigstoreServices, func(s sigstoreService) bool { return s.name == args[0] }) {
		return errUsage
	}
	return switchService(args[0], args[1])
}

func switchService(name, state string) error {
	s, err := newSite()
	if err != nil {
		return err
	}
	if !exists(s.in("git")) {
		return errors.New("the sandbox is not up: run up first")
	}
	if err := setService(s.in("sigstore"), name, state); err != nil {
		return fmt.Errorf("changing the state of %s: %w", name, err)
	}
	fmt.Printf("%s is in the state %s\n", name, serviceState(s.in("sigstore"), name))
	return nil
}

func isState(text string) bool {
	return slices.Contains([]string{started, stopped, garbage, slow}, text)
}

// setService keeps a state that is not the normal one as a file, which the front looks for at every request.
func setService(dir, name, state string) error {
	if state == started {
		return os.RemoveAll(filepath.Join(dir, name))
	}
	return writeFile(filepath.Join(dir, name), []byte(state), 0o644)
}

func serviceState(dir, name string) string {
	state, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return started
	}
	return strings.TrimSpace(string(state))
}

// newSigstore are the services by their hosts, each in the state that it is in. Fulcio is asked with a password.
func newSigstore(states string) map[string]http.Handler {
	services := map[string]http.Handler{}
	for _, service := range sigstoreServices {
		services[service.host] = inState(states, service.name, newProxy(service.name, service.address()))
	}
	return services
}

func inState(states, name string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch serviceState(states, name) {
		case started:
			next.ServeHTTP(w, r)
		case garbage:
			answerGarbage(w, r)
		case slow:
			<-r.Context().Done()
		default:
			panic(http.ErrAbortHandler) // net/http breaks the connection.
		}
	})
}

// answerGarbage is what a client takes for an answer at first sight: JSON, of nothing that it knows.
func answerGarbage(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	if r.Method == http.MethodPost && hostOf(r) == rekorHost {
		w.WriteHeader(http.StatusCreated)
	}
	fmt.Fprintln(w, `{"nonsense":{}}`)
}

// checkSigstore tells whether every service answers that should.
func checkSigstore(ctx context.Context, s site) error {
	for _, service := range sigstoreServices {
		if serviceState(s.in("sigstore"), service.name) != started {
			continue
		}
		if err := checkURL(ctx, s, "https://"+service.host+service.probe); err != nil {
			return fmt.Errorf("asking %s: %w", service.name, err)
		}
	}
	return nil
}
