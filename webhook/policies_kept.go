package webhook

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ibshafique/base-images/api/v1alpha1"
	"github.com/ibshafique/base-images/internal/imagepolicy"
	"github.com/ibshafique/base-images/internal/rules"
)

// labelPolicy of a ControllerRevision is the UID of the policy that it is a version of.
const labelPolicy = "basewright.dev/policy-uid"

// maxKept of a version is a little more than what compiles, for JSON escapes some of it.
const maxKept = imagepolicy.MaxBytes + imagepolicy.MaxBytes/4

// kept is a good version of a policy with all that it refers to. As a ControllerRevision it survives the webhook: a policy that is bad when the
// webhook starts is in force as it last was.
type kept struct {
	Generation int64                             `json:"generation"`
	Spec       v1alpha1.ImageAdmissionPolicySpec `json:"spec"`
	Rules      []rules.Module                    `json:"rules,omitempty"`
	PublicKey  []byte                            `json:"publicKey,omitempty"`
}

// keepAll writes the good versions that are not written yet.
func (p *Policies) keepAll(ctx context.Context) error {
	var failed []error
	for _, n := range p.native {
		if n.good == nil {
			continue
		}
		if err := p.keep(ctx, n.object, n.good); err != nil {
			failed = append(failed, fmt.Errorf("keeping the good version of ImageAdmissionPolicy %s: %w", n.object.Name, err))
		}
	}
	return errors.Join(failed...)
}

func (p *Policies) keep(ctx context.Context, o *v1alpha1.ImageAdmissionPolicy, good *kept) error {
	revision, err := p.revision(o, good)
	if err != nil {
		return err
	}
	there := &appsv1.ControllerRevision{}
	err = p.ours.Get(ctx, client.ObjectKeyFromObject(revision), there)
	if apierrors.IsNotFound(err) {
		if err = p.writer.Create(ctx, revision); apierrors.IsAlreadyExists(err) {
			return nil // Another replica was faster. It is looked at in the next pass.
		}
		there = revision
	}
	if err != nil {
		return err
	}
	if !isOwnedBy(there, o.UID) {
		return fmt.Errorf("ControllerRevision %s belongs to somebody else: delete it", there.Name)
	}
	return p.forget(ctx, o, there)
}

// revision of a version. The data of one never changes, so another version is another object.
func (p *Policies) revision(o *v1alpha1.ImageAdmissionPolicy, good *kept) (*appsv1.ControllerRevision, error) {
	raw, err := json.Marshal(good)
	if err != nil {
		return nil, err
	}
	if len(raw) > maxKept {
		return nil, fmt.Errorf("it has %d bytes, at most %d are kept", len(raw), maxKept)
	}
	owner, content := sha256.Sum256([]byte(o.UID)), sha256.Sum256(raw)
	return &appsv1.ControllerRevision{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: p.namespace, Name: "policy-" + hex.EncodeToString(owner[:8]) + "-" + hex.EncodeToString(content[:8]),
			Labels:      map[string]string{labelPolicy: string(o.UID)},
			Annotations: map[string]string{"basewright.dev/policy": o.Name},
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: v1alpha1.SchemeGroupVersion.String(), Kind: imagepolicy.KindImageAdmissionPolicy, Name: o.Name, UID: o.UID,
			}},
		},
		Data: runtime.RawExtension{Raw: raw}, Revision: good.Generation,
	}, nil
}

// forget deletes the versions before last. A replica that is behind does not delete what is newer than what it knows.
func (p *Policies) forget(ctx context.Context, o *v1alpha1.ImageAdmissionPolicy, last *appsv1.ControllerRevision) error {
	all, err := p.revisions(ctx, o)
	if err != nil {
		return err
	}
	for i := range all {
		if all[i].Name == last.Name || newer(all[i], *last) < 0 {
			continue
		}
		if err := p.writer.Delete(ctx, &all[i]); err != nil && !apierrors.IsNotFound(err) {
			return err
		}
	}
	return nil
}

// revisions of a policy that are its own, newest first.
func (p *Policies) revisions(ctx context.Context, o *v1alpha1.ImageAdmissionPolicy) ([]appsv1.ControllerRevision, error) {
	var list appsv1.ControllerRevisionList
	if err := p.ours.List(ctx, &list, client.InNamespace(p.namespace), client.MatchingLabels{labelPolicy: string(o.UID)}); err != nil {
		return nil, fmt.Errorf("listing ControllerRevisions: %w", err)
	}
	own := slices.DeleteFunc(list.Items, func(r appsv1.ControllerRevision) bool { return !isOwnedBy(&r, o.UID) })
	slices.SortFunc(own, newer)
	return own, nil
}

// newer orders versions, newest first. Those of one generation have other rules or another key: the one that was made later is newer, and
// since nobody changes it, its resourceVersion says when, which the seconds of a timestamp may not.
func newer(a, b appsv1.ControllerRevision) int {
	made, err := resourceversion.CompareResourceVersion(b.ResourceVersion, a.ResourceVersion)
	if err != nil {
		made = 0
	}
	return cmp.Or(cmp.Compare(b.Revision, a.Revision), made, b.CreationTimestamp.Compare(a.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
}

func isOwnedBy(o metav1.Object, uid types.UID) bool {
	return slices.ContainsFunc(o.GetOwnerReferences(), func(r metav1.OwnerReference) bool {
		return r.UID == uid && r.Kind == imagepolicy.KindImageAdmissionPolicy
	})
}

// lastGood is the newest version that was kept and still compiles; nil if there is none.
func (p *Policies) lastGood(ctx context.Context, o *v1alpha1.ImageAdmissionPolicy) (*imagepolicy.Policy, error) {
	all, err := p.revisions(ctx, o)
	if err != nil {
		return nil, err
	}
	for _, r := range all {
		var k kept
		if err := json.Unmarshal(r.Data.Raw, &k); err != nil {
			p.log.Error(err, "A version that was kept can't be read", "controllerRevision", r.Name, "policy", o.Name)
			continue
		}
		before := o.DeepCopy()
		before.Generation, before.Spec = k.Generation, k.Spec
		policy, _, err := imagepolicy.Compile(imagepolicy.Input{Object: before, Rules: k.Rules, PublicKey: k.PublicKey, Trust: p.trust, Now: p.clock.Now()})
		if err == nil {
			return policy, nil
		}
		p.log.Error(err, "A version that was kept compiles no more", "controllerRevision", r.Name, "policy", o.Name)
	}
	return nil, nil
}
