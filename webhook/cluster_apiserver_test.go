package webhook

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"

	"github.com/ibshafique/base-images/internal/pullsecret"
	"github.com/ibshafique/base-images/internal/registry"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// apiserver is a stand-in for one. It answers what it was told to, counts, and lets watches hang.
type apiserver struct {
	mu       sync.Mutex
	objects  map[string]any // by path, and for lists by path and field selector
	failing  int            // status of every answer, unless 0
	requests []string
	watching chan string // which watches were begun, once their lists were read
	events   map[string]chan any
	closed   chan struct{}
}

func newAPIServer(t testing.TB, objects map[string]any) (*apiserver, *rest.Config) {
	t.Helper()
	a := &apiserver{objects: objects, watching: make(chan string, 100), events: map[string]chan any{}, closed: make(chan struct{})}
	for _, watched := range []string{"/api/v1/namespaces", "/api/v1/nodes", "/api/v1/serviceaccounts", secretsPath, oldPath} {
		a.events[watched] = make(chan any)
	}
	srv := httptest.NewServer(a)
	t.Cleanup(srv.Close)
	t.Cleanup(func() { close(a.closed) })
	return a, &rest.Config{Host: srv.URL, QPS: -1}
}

func (a *apiserver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	key := r.URL.Path
	if selector := r.URL.Query().Get("fieldSelector"); selector != "" {
		key += "?" + selector
	}
	switch {
	case r.URL.Query().Get("sendInitialEvents") != "":
		refuse(w, http.StatusUnprocessableEntity, metav1.StatusReasonInvalid)
	case r.URL.Query().Get("watch") != "":
		a.watch(w, r, key)
	default:
		a.answer(w, key)
	}
}

func (a *apiserver) answer(w http.ResponseWriter, key string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.requests = append(a.requests, key)
	object, ok := a.objects[key]
	switch {
	case a.failing != 0:
		refuse(w, a.failing, metav1.StatusReasonInternalError)
	case !ok:
		refuse(w, http.StatusNotFound, metav1.StatusReasonNotFound)
	default:
		_ = json.NewEncoder(w).Encode(object)
	}
}

func (a *apiserver) watch(w http.ResponseWriter, r *http.Request, key string) {
	w.(http.Flusher).Flush()
	a.watching <- key
	for {
		select {
		case <-a.closed:
			return
		case <-r.Context().Done():
			return
		case event := <-a.events[key]:
			_ = json.NewEncoder(w).Encode(event)
			w.(http.Flusher).Flush()
		}
	}
}

func refuse(w http.ResponseWriter, status int, reason metav1.StatusReason) {
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: "Failure", Code: int32(status), Reason: reason, Message: "refused"})
}

func (a *apiserver) set(key string, object any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.objects[key] = object
	if object == nil {
		delete(a.objects, key)
	}
}

func (a *apiserver) fail(status int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.failing = status
}

// asked returns the requests since the last call, without watches.
func (a *apiserver) asked() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	// The version is asked for in the background.
	requests := slices.DeleteFunc(a.requests, func(path string) bool { return path == "/version" })
	a.requests = nil
	if len(requests) == 0 {
		return nil
	}
	return requests
}

func list(items ...any) any {
	return map[string]any{"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": map[string]any{"resourceVersion": "1"}, "items": items}
}

func object(meta metav1.ObjectMeta) *metav1.PartialObjectMetadata {
	return &metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{Kind: "PartialObjectMetadata", APIVersion: "meta.k8s.io/v1"}, ObjectMeta: meta}
}

func namespaceObject(name string, labels map[string]string) *metav1.PartialObjectMetadata {
	return object(metav1.ObjectMeta{Name: name, Labels: labels})
}

func nodeObject(name, os, arch string) *metav1.PartialObjectMetadata {
	labels := map[string]string{}
	if os != "" {
		labels[corev1.LabelOSStable] = os
	}
	if arch != "" {
		labels[corev1.LabelArchStable] = arch
	}
	return object(metav1.ObjectMeta{Name: name, Labels: labels})
}

func accountObject(name string, secrets ...string) *corev1.ServiceAccount {
	a := &corev1.ServiceAccount{TypeMeta: metav1.TypeMeta{Kind: "ServiceAccount", APIVersion: "v1"}, ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: name}}
	for _, s := range secrets {
		a.ImagePullSecrets = append(a.ImagePullSecrets, corev1.LocalObjectReference{Name: s})
	}
	return a
}

func secretMeta(name, version string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: "team", Name: name, UID: "5b0d4a9e-6a6e-4d0c-8f0e-0c7a8f3f6d5b", ResourceVersion: version,
		Annotations: map[string]string{corev1.LastAppliedConfigAnnotation: "hunter2"}}
}

func secretObject(name, version string, secretType corev1.SecretType) *corev1.Secret {
	content := []byte(`{"auths":{"ghcr.io":{"username":"ann","password":"hunter2"}}}`)
	if secretType == corev1.SecretTypeDockercfg {
		content = []byte(`{"ghcr.io":{"username":"ann","password":"hunter2"}}`)
	}
	return &corev1.Secret{TypeMeta: metav1.TypeMeta{Kind: "Secret", APIVersion: "v1"}, ObjectMeta: secretMeta(name, version), Type: secretType,
		Data: map[string][]byte{dataKeys[secretType]: content, "token": []byte("x")}}
}

const (
	secretsPath = "/api/v1/secrets?type=" + registry.TypeDockerConfigJSON
	oldPath     = "/api/v1/secrets?type=" + registry.TypeDockercfg
)

// small is a cluster with something of everything.
func small() map[string]any {
	accounts := &corev1.ServiceAccountList{TypeMeta: metav1.TypeMeta{Kind: "ServiceAccountList", APIVersion: "v1"}, ListMeta: metav1.ListMeta{ResourceVersion: "1"},
		Items: []corev1.ServiceAccount{*accountObject("default", "regcred"), *accountObject("bare")}}
	return map[string]any{
		"/version":                map[string]any{"major": "1", "minor": "37+"},
		"/api/v1/namespaces":      list(namespaceObject("team", map[string]string{"env": "prod"})),
		"/api/v1/nodes":           list(nodeObject("a", "linux", "arm64"), nodeObject("b", "linux", "amd64"), nodeObject("c", "linux", "amd64")),
		"/api/v1/serviceaccounts": accounts,
		secretsPath:               list(object(secretMeta("regcred", "7")), object(secretMeta("other", "8"))),
		oldPath:                   list(object(secretMeta("old", "9"))),
		"/api/v1/namespaces/team/secrets/regcred": secretObject("regcred", "7", corev1.SecretTypeDockerConfigJson),
		"/api/v1/namespaces/team/secrets/other":   secretObject("other", "8", corev1.SecretTypeDockerConfigJson),
		"/api/v1/namespaces/team/secrets/old":     secretObject("old", "9", corev1.SecretTypeDockercfg),
	}
}

func clusterOf(t testing.TB, config *rest.Config) *Cluster {
	t.Helper()
	return must(newCluster(must(kubernetes.NewForConfig(config)), must(metadata.NewForConfig(config)), ClusterOptions{Secrets: aStore()}))
}

func aStore() *pullsecret.Store {
	return must(pullsecret.New(pullsecret.Options{Base: must(registry.New(registry.Config{}))}))
}

// started is a Cluster whose tables are filled, and whose apiserver has forgotten what it was asked for that.
func started(t testing.TB, objects map[string]any) (*Cluster, *apiserver) {
	t.Helper()
	a, config := newAPIServer(t, objects)
	c := clusterOf(t, config)
	start(t, c, a)
	return c, a
}

func start(t testing.TB, c *Cluster, a *apiserver) {
	t.Helper()
	if err := c.readVersion(t.Context()); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- c.Start(t.Context()) }()
	t.Cleanup(func() {
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	for range a.events {
		<-a.watching
	}
	a.asked()
}
