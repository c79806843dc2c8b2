package webhook

import (
	"context"
	"crypto/sha256"
	"fmt"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"github.com/hashicorp/golang-lru/v2/expirable"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/ibshafique/base-images/internal/workload"
)

const (
	// waitingOwners is how many events may wait. More are left out: the log has every denial.
	waitingOwners = 256
	// toldOwners are remembered for quiet, so that a controller that tries again and again is told of once in a while.
	toldOwners = 2048
	quiet      = 5 * time.Minute
	// ownerTimeout of looking one up.
	ownerTimeout = 5 * time.Second
	maxNote      = 1000
)

// parents are the kinds that make pods, or what makes pods. Who owns anything else is not told.
var parents = map[schema.GroupKind]string{
	{Group: "apps", Kind: "ReplicaSet"}:        "v1",
	{Group: "apps", Kind: "StatefulSet"}:       "v1",
	{Group: "apps", Kind: "DaemonSet"}:         "v1",
	{Group: "apps", Kind: "Deployment"}:        "v1",
	{Group: "batch", Kind: "Job"}:              "v1",
	{Group: "batch", Kind: "CronJob"}:          "v1",
	{Group: "", Kind: "ReplicationController"}: "v1",
}

// owners tells whoever looks at a Deployment why it has no pods. It works beside admission, which never waits for it.
type owners struct {
	reader  client.Reader
	events  events.EventRecorder
	log     logr.Logger
	waiting chan notice
	told    *expirable.LRU[[sha256.Size]byte, struct{}]
}

type notice struct {
	namespace string
	reason    string
	owner     metav1.OwnerReference
	message   string
}

func newOwners(reader client.Reader, recorder events.EventRecorder, log logr.Logger) *owners {
	return &owners{reader: reader, events: recorder, log: log, waiting: make(chan notice, waitingOwners),
		told: expirable.NewLRU[[sha256.Size]byte, struct{}](toldOwners, nil, quiet)}
}

// tell leaves a notice for the controller of object, if it has one.
func (o *owners) tell(namespace, reason string, object *workload.Object, message string) {
	owner := metav1.GetControllerOfNoCopy(object.Owner)
	if o == nil || owner == nil || !plausible(owner) {
		return
	}
	key := sha256.Sum256([]byte(strings.Join([]string{namespace, owner.APIVersion, owner.Kind, owner.Name, string(owner.UID)}, "\x00")))
	if _, again := o.told.Get(key); again {
		return
	}
	select {
	case o.waiting <- notice{namespace: namespace, reason: reason, owner: *owner, message: bound(strings.Join(strings.Fields(message), " "), maxNote)}:
		o.told.Add(key, struct{}{})
	default:
	}
}

// plausible references are short. Nobody has looked at them yet: the apiserver does so later, and has no limit for some.
func plausible(r *metav1.OwnerReference) bool {
	return len(r.APIVersion) <= 253 && len(r.Kind) <= 63 && len(r.Name) <= 253 && len(r.UID) <= 64
}

// Start is of manager.Runnable.
func (o *owners) Start(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case n := <-o.waiting:
			if err := o.notify(ctx, n); err != nil {
				o.log.V(1).Info("The owner of what was refused is not told", "namespace", n.namespace, "kind", n.owner.Kind, "name", n.owner.Name, "why", err.Error())
			}
		}
	}
}

// NeedLeaderElection is of manager.LeaderElectionRunnable: every replica tells of what it refuses.
func (o *owners) NeedLeaderElection() bool { return false }

func (o *owners) notify(ctx context.Context, n notice) error {
	ctx, cancel := context.WithTimeout(ctx, ownerTimeout)
	defer cancel()
	owner, err := o.find(ctx, n.namespace, n.owner)
	if err != nil {
		return err
	}
	if above := metav1.GetControllerOfNoCopy(owner); above != nil {
		// The controller of a ReplicaSet is what people look at.
		if top, err := o.find(ctx, n.namespace, *above); err == nil {
			owner = top
		}
	}
	o.events.Eventf(owner, nil, corev1.EventTypeWarning, n.reason, "Admit", "%s", n.message)
	return nil
}

// find looks an owner up: whoever makes an object writes anything into its references.
func (o *owners) find(ctx context.Context, namespace string, ref metav1.OwnerReference) (*metav1.PartialObjectMetadata, error) {
	gv, err := schema.ParseGroupVersion(ref.APIVersion)
	if err != nil {
		return nil, err
	}
	version, known := parents[schema.GroupKind{Group: gv.Group, Kind: ref.Kind}]
	if !known {
		return nil, fmt.Errorf("nobody looks at a %s for pods", clip(ref.Kind))
	}
	owner := &metav1.PartialObjectMetadata{}
	owner.SetGroupVersionKind(schema.GroupVersionKind{Group: gv.Group, Version: version, Kind: ref.Kind})
	if err := o.reader.Get(ctx, types.NamespacedName{Namespace: namespace, Name: ref.Name}, owner); err != nil {
		return nil, fmt.Errorf("looking for the owner: %w", err)
	}
	if owner.UID != ref.UID {
		return nil, fmt.Errorf("%s %s is another one", ref.Kind, clip(ref.Name))
	}
	return owner, nil
}
