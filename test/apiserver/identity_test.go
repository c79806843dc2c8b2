//go:build apiserver

package apiserver

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/ibshafique/base-images/controllers"
	"github.com/ibshafique/base-images/internal/pipeline"
)

const systemNamespace = "basewright-system"

// makeSystemNamespace has the namespace from now on: without its controller, it would never be gone.
func makeSystemNamespace(t *testing.T) {
	t.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: systemNamespace}}
	if err := k8s.Create(t.Context(), namespace); err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
}

// installPermissions applies config/rbac as kustomize would, for the length of the test.
func installPermissions(t *testing.T) {
	t.Helper()
	makeSystemNamespace(t)
	createAll(t, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: systemNamespace, Name: "default"}})
	for _, file := range []string{"service_account.yaml", "signer.yaml", "role.yaml", "role_binding.yaml", "leader_election.yaml", "user_roles.yaml"} {
		raw, err := os.ReadFile(filepath.Join("../../config/rbac", file))
		if err != nil {
			t.Fatal(err)
		}
		for document := range bytes.SplitSeq(bytes.TrimPrefix(raw, []byte("---\n")), []byte("\n---\n")) {
			o := &unstructured.Unstructured{}
			if err := yaml.Unmarshal(document, o); err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(o.GetKind(), "Cluster") {
				o.SetNamespace(systemNamespace)
			}
			createAll(t, o)
		}
	}
}

func createAll(t *testing.T, o client.Object) {
	t.Helper()
	err := k8s.Create(t.Context(), o)
	if apierrors.IsAlreadyExists(err) { // Another test needs one too, which may differ.
		o.SetResourceVersion("")
		err = k8s.Update(t.Context(), o)
	}
	if err != nil {
		t.Fatalf("creating %T %s: %v", o, o.GetName(), err)
	}
	t.Cleanup(func() {
		if err := k8s.Delete(context.WithoutCancel(t.Context()), o); client.IgnoreNotFound(err) != nil {
			t.Errorf("deleting %T %s: %v", o, o.GetName(), err)
		}
	})
}

// as is a client of somebody else.
func clientAs(t *testing.T, user string) client.Client {
	t.Helper()
	other := rest.CopyConfig(cfg)
	other.Impersonate = rest.ImpersonationConfig{UserName: user, Groups: []string{"system:authenticated"}}
	if namespace, _, ok := strings.Cut(strings.TrimPrefix(user, "system:serviceaccount:"), ":"); ok {
		other.Impersonate.Groups = append(other.Impersonate.Groups, "system:serviceaccounts", "system:serviceaccounts:"+namespace)
	}
	c, err := client.New(other, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const operatorUser = "system:serviceaccount:basewright-system:basewright-operator"

func TestTheOperatorSignsAsTheSigner(t *testing.T) {
	installPermissions(t)
	account := types.NamespacedName{Namespace: systemNamespace, Name: "basewright-signer"}
	signer := controllers.NewSignerIdentity(clientAs(t, operatorUser), account, "sigstore", clock.RealClock{})
	token, err := signer.Token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	issuer, subject, err := signer.Identity(t.Context())
	if err != nil || !strings.HasPrefix(issuer, "https://") || subject != "https://kubernetes.io/namespaces/basewright-system/serviceaccounts/basewright-signer" {
		t.Errorf("got %s, %s, %v", issuer, subject, err)
	}
	for audience, valid := range map[string]bool{"sigstore": true, issuer: false} {
		review := &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token, Audiences: []string{audience}}}
		if err := k8s.Create(t.Context(), review); err != nil {
			t.Fatal(err)
		}
		if review.Status.Authenticated != valid || valid && review.Status.User.Username != "system:serviceaccount:basewright-system:basewright-signer" {
			t.Errorf("towards %s, the token is that of %+v", audience, review.Status)
		}
	}

	if err := k8s.Delete(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: systemNamespace, Name: "basewright-signer"}}); err != nil {
		t.Fatal(err)
	}
	gone := controllers.NewSignerIdentity(clientAs(t, operatorUser), account, "sigstore", clock.RealClock{})
	if _, err := gone.Token(t.Context()); !apierrors.IsNotFound(err) || !strings.Contains(err.Error(), "does not exist: create it") {
		t.Errorf("without the ServiceAccount: %v", err)
	}
}

func TestNobodyElseSignsAsTheSigner(t *testing.T) {
	installPermissions(t)
	tenant := newNamespace(t)
	everything := []rbacv1.PolicyRule{{APIGroups: []string{"*"}, Resources: []string{"*"}, Verbs: []string{"*"}}}
	createAll(t, &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: tenant, Name: "everything"}, Rules: everything})
	createAll(t, &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: tenant, Name: "everything"},
		RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "everything"}, Subjects: []rbacv1.Subject{{Kind: "User", Name: "tenant"}}})
	createAll(t, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: tenant, Name: "basewright-signer"}})
	for _, role := range []string{"basewright-view", "basewright-edit"} {
		createAll(t, &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "everywhere-" + role},
			RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role}, Subjects: []rbacv1.Subject{{Kind: "User", Name: "user"}}})
	}
	for name, tt := range map[string]struct{ user, namespace, account string }{
		"a tenant who may do everything in a namespace":        {"tenant", systemNamespace, "basewright-signer"},
		"a user of base images everywhere":                     {"user", systemNamespace, "basewright-signer"},
		"the signer itself":                                    {"system:serviceaccount:basewright-system:basewright-signer", systemNamespace, "basewright-signer"},
		"another account of the operator's namespace":          {"system:serviceaccount:basewright-system:default", systemNamespace, "basewright-signer"},
		"the operator, as itself":                              {operatorUser, systemNamespace, "basewright-operator"},
		"the operator, as another account of its namespace":    {operatorUser, systemNamespace, "default"},
		"the operator, as an account of that name, of tenants": {operatorUser, tenant, "basewright-signer"},
	} {
		t.Run(name, func(t *testing.T) {
			signer := controllers.NewSignerIdentity(clientAs(t, tt.user), types.NamespacedName{Namespace: tt.namespace, Name: tt.account}, "sigstore", clock.RealClock{})
			token, err := signer.Token(t.Context())
			fault, transient := errors.AsType[*pipeline.Transient](err)
			if token != "" || !apierrors.IsForbidden(err) || !transient || fault.Reason != pipeline.ReasonIdentityUnavailable {
				t.Errorf("got a token: %t, %v", token != "", err)
			}
		})
	}
	t.Run("the tenant may in its own namespace, so that it is the namespace that counts", func(t *testing.T) {
		own := controllers.NewSignerIdentity(clientAs(t, "tenant"), types.NamespacedName{Namespace: tenant, Name: "basewright-signer"}, "sigstore", clock.RealClock{})
		_, subject, err := own.Identity(t.Context())
		if err != nil || strings.Contains(subject, systemNamespace) {
			t.Errorf("got %s, %v", subject, err)
		}
	})
}

func TestTheSignerHasNoTokenInPods(t *testing.T) {
	installPermissions(t)
	var signer corev1.ServiceAccount
	if err := k8s.Get(t.Context(), client.ObjectKey{Namespace: systemNamespace, Name: "basewright-signer"}, &signer); err != nil {
		t.Fatal(err)
	}
	if signer.AutomountServiceAccountToken == nil || *signer.AutomountServiceAccountToken {
		t.Error("pods that run as it get its token")
	}
}
