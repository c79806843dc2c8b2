package webhook

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

const ourNamespace = "basewright-system"

func emptySecret() *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: ourNamespace, Name: SecretName}}
}

func validating(bundle string) *admissionregistrationv1.ValidatingWebhookConfiguration {
	return &admissionregistrationv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: ConfigurationName},
		Webhooks: []admissionregistrationv1.ValidatingWebhook{
			{Name: "pods.basewright.dev", ClientConfig: admissionregistrationv1.WebhookClientConfig{CABundle: []byte(bundle)}},
			{Name: "policies.basewright.dev"},
		},
	}
}

func mutating() *admissionregistrationv1.MutatingWebhookConfiguration {
	return &admissionregistrationv1.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: ConfigurationName},
		Webhooks:   []admissionregistrationv1.MutatingWebhook{{Name: "pin.basewright.dev"}},
	}
}

func replica(c client.Client, now *clocktesting.FakePassiveClock) *Certificates {
	return newCertificates(c, c, ourNamespace, now)
}

func pass(t *testing.T, c *Certificates) reconcile.Result {
	t.Helper()
	result, err := c.Reconcile(t.Context(), reconcile.Request{})
	if err != nil {
		t.Fatal(err)
	}
	return result
}

func storedIn(t *testing.T, c client.Client) stock {
	t.Helper()
	secret := &corev1.Secret{}
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(emptySecret()), secret); err != nil {
		t.Fatal(err)
	}
	return stockOf(secret.Data)
}

func bundlesIn(t *testing.T, c client.Client) [][]byte {
	t.Helper()
	askers, err := replica(c, nil).askers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var all [][]byte
	for _, a := range askers {
		all = append(all, a.bundles...)
	}
	return all
}

func TestFromAnEmptySecretToReady(t *testing.T) {
	now := clocktesting.NewFakePassiveClock(epoch)
	c := fake.NewClientBuilder().WithObjects(emptySecret(), validating("an old one"), mutating()).Build()
	r := replica(c, now)
	if err := r.Check(nil); err == nil {
		t.Error("it is ready without a certificate")
	}
	pass(t, r)
	if err := r.Check(nil); err == nil {
		t.Error("it is ready with a certificate that it has only written")
	}
	pass(t, r)
	if err := r.Check(nil); err != nil {
		t.Error(err)
	}
	held := storedIn(t, c)
	all := bundlesIn(t, c)
	for _, bundle := range all {
		if !bytes.Equal(bundle, held.authorities[0]) {
			t.Errorf("the bundle is %q", bundle)
		}
	}
	if len(all) != 3 {
		t.Errorf("there are %d bundles", len(all))
	}
	pair, err := r.GetCertificate(nil)
	if err != nil || pair.Leaf.VerifyHostname(serverName) != nil {
		t.Errorf("got %v, %v", pair, err)
	}
	now.SetTime(epoch.Add(certificateFor))
	if err := r.Check(nil); err == nil || !strings.Contains(err.Error(), "has ended at 2030-04-01") {
		t.Errorf("got %v", err)
	}
}

func TestAtRestNothingIsWritten(t *testing.T) {
	writes := 0
	c := fake.NewClientBuilder().WithObjects(emptySecret(), validating(""), mutating()).WithInterceptorFuncs(interceptor.Funcs{
		Update: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.UpdateOption) error {
			writes++
			return c.Update(ctx, o, opts...)
		},
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
			writes++
			return c.Patch(ctx, o, p, opts...)
		},
	}).Build()
	first, second := replica(c, clocktesting.NewFakePassiveClock(epoch)), replica(c, clocktesting.NewFakePassiveClock(epoch))
	pass(t, first)
	pass(t, first)
	if writes != 3 {
		t.Errorf("%d writes, want one of each object", writes)
	}
	for _, r := range []*Certificates{first, second} {
		if result := pass(t, r); result.RequeueAfter != lookEvery {
			t.Errorf("got %+v", result)
		}
		if err := r.Check(nil); err != nil {
			t.Error(err)
		}
	}
	if writes != 3 {
		t.Errorf("%d writes at rest", writes-3)
	}
}

// stale is a replica whose cache is behind.
type stale struct {
	client.Client
	secret *corev1.Secret
}

func (s stale) Get(ctx context.Context, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
	if secret, ok := o.(*corev1.Secret); ok {
		s.secret.DeepCopyInto(secret)
		return nil
	}
	return s.Client.Get(ctx, key, o, opts...)
}

func TestOfTwoThatRenewAtTheSameTimeOneWinsAndBothServeTheSame(t *testing.T) {
	c := fake.NewClientBuilder().WithObjects(emptySecret(), validating(""), mutating()).Build()
	before := &corev1.Secret{}
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(emptySecret()), before); err != nil {
		t.Fatal(err)
	}
	now := clocktesting.NewFakePassiveClock(epoch)
	first, second := replica(c, now), replica(c, now)
	second.reader = stale{c, before}
	pass(t, first)
	won := storedIn(t, c)
	if result := pass(t, second); result.RequeueAfter != time.Second {
		t.Errorf("who comes too late does not come again: %+v", result)
	}
	if !bytes.Equal(storedIn(t, c).certificate, won.certificate) {
		t.Error("who came too late has overwritten the certificate")
	}
	second.reader = c
	for _, r := range []*Certificates{second, first, second} {
		pass(t, r)
	}
	one, _ := first.GetCertificate(nil)
	other, _ := second.GetCertificate(nil)
	if !bytes.Equal(one.Certificate[0], other.Certificate[0]) {
		t.Error("they serve with different certificates")
	}
}

func TestAConfigurationThatHasMovedIsLeftToTheNextPass(t *testing.T) {
	c := fake.NewClientBuilder().WithObjects(emptySecret(), validating(""), mutating()).WithInterceptorFuncs(interceptor.Funcs{
		Patch: func(context.Context, client.WithWatch, client.Object, client.Patch, ...client.PatchOption) error {
			return apierrors.NewConflict(schema.GroupResource{}, ConfigurationName, nil)
		},
	}).Build()
	r := replica(c, clocktesting.NewFakePassiveClock(epoch))
	pass(t, r)
	if result := pass(t, r); result.RequeueAfter != time.Second || r.Check(nil) == nil {
		t.Errorf("got %+v", result)
	}
}

func TestWithoutConfigurationsItGetsReady(t *testing.T) {
	r := replica(fake.NewClientBuilder().WithObjects(emptySecret()).Build(), clocktesting.NewFakePassiveClock(epoch))
	pass(t, r)
	pass(t, r)
	if err := r.Check(nil); err != nil {
		t.Error(err)
	}
}

func TestWithoutASecretThereWillBeOne(t *testing.T) {
	c := fake.NewClientBuilder().WithObjects(validating(""), mutating()).Build()
	r := replica(c, clocktesting.NewFakePassiveClock(epoch))
	for range 3 {
		pass(t, r)
	}
	if err := r.Check(nil); err != nil {
		t.Error(err)
	}
}

func TestADeletedSecretMeansAnotherAuthorityAndNoGap(t *testing.T) {
	now := clocktesting.NewFakePassiveClock(epoch)
	c := fake.NewClientBuilder().WithObjects(emptySecret(), validating(""), mutating()).Build()
	r := replica(c, now)
	pass(t, r)
	pass(t, r)
	before := storedIn(t, c)
	if err := c.Delete(t.Context(), emptySecret()); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		pass(t, r)
	}
	between := storedIn(t, c)
	if len(between.authorities) != 2 || !bytes.Equal(between.certificate, before.certificate) || bytes.Equal(between.authorityKey, before.authorityKey) {
		t.Errorf("there are %d authorities; the certificate is the same: %t, the key of the authority is the same: %t", len(between.authorities),
			bytes.Equal(between.certificate, before.certificate), bytes.Equal(between.authorityKey, before.authorityKey))
	}
	for _, step := range []string{"another certificate", "without the authority before"} {
		now.SetTime(now.Now().Add(settle + time.Second))
		pass(t, r)
		pass(t, r)
		if step == "another certificate" && bytes.Equal(storedIn(t, c).certificate, before.certificate) {
			t.Error("the certificate of the authority before is still served")
		}
	}
	if after := storedIn(t, c); len(after.authorities) != 1 || bytes.Equal(after.authorities[0], before.authorities[0]) {
		t.Error("the authority before is still trusted")
	}
}

// Nothing else of the configurations may change: somebody may have edited them.
func TestOnlyBundlesAreWritten(t *testing.T) {
	object := validating("")
	object.Labels = map[string]string{"a": "b"}
	object.Webhooks[0].TimeoutSeconds = new(int32(7))
	c := fake.NewClientBuilder().WithObjects(emptySecret(), object).Build()
	r := replica(c, clocktesting.NewFakePassiveClock(epoch))
	pass(t, r)
	pass(t, r)
	got := &admissionregistrationv1.ValidatingWebhookConfiguration{}
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(object), got); err != nil {
		t.Fatal(err)
	}
	if got.Labels["a"] != "b" || *got.Webhooks[0].TimeoutSeconds != 7 || len(got.Webhooks[0].ClientConfig.CABundle) == 0 {
		t.Errorf("got %+v", got)
	}
}

func TestABrokenSecretDoesNotTakeAwayWhatIsServed(t *testing.T) {
	c := fake.NewClientBuilder().WithObjects(emptySecret()).Build()
	r := replica(c, clocktesting.NewFakePassiveClock(epoch))
	pass(t, r)
	pass(t, r)
	before, _ := r.GetCertificate(nil)
	r.hold(stock{certificate: []byte("x"), key: []byte("y")})
	if after, err := r.GetCertificate(nil); err != nil || after != before {
		t.Errorf("got %v, %v", after, err)
	}
}
