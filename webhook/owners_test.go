package webhook

import (
	"strconv"
	"strings"
	"testing"

	"github.com/go-logr/logr"
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/ibshafique/base-images/internal/workload"
)

func ref(kind, name string, uid types.UID) metav1.OwnerReference {
	return metav1.OwnerReference{APIVersion: "apps/v1", Kind: kind, Name: name, UID: uid, Controller: new(true)}
}

func TestTheOwnerOfWhatIsRefusedIsTold(t *testing.T) {
	deployment := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: shop, Name: "cart", UID: "d"}}
	set := &appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Namespace: shop, Name: "cart-1", UID: "r", OwnerReferences: []metav1.OwnerReference{ref("Deployment", "cart", "d")}}}
	for name, tt := range map[string]struct {
		owner metav1.OwnerReference
		want  string
	}{
		"a pod of a Deployment tells the Deployment": {ref("ReplicaSet", "cart-1", "r"), "AdmissionRefused"},
		"an owner that is not there is not told":     {ref("ReplicaSet", "cart-2", "r"), ""},
		"one of another UID is not told":             {ref("ReplicaSet", "cart-1", "other"), ""},
		"what makes no pods is not told":             {ref("ConfigMap", "cart-1", "r"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			recorder := events.NewFakeRecorder(4)
			o := newOwners(fake.NewClientBuilder().WithScheme(scheme.Scheme).WithObjects(deployment, set).Build(), recorder, logr.Discard())
			object := &workload.Object{Kind: "Pod", Owner: &metav1.ObjectMeta{OwnerReferences: []metav1.OwnerReference{tt.owner}}}
			for range 3 { // A controller tries again.
				o.tell(shop, "AdmissionRefused", object, "Pod cart-1-x is refused")
			}
			if len(o.waiting) != 1 {
				t.Fatalf("%d notices wait", len(o.waiting))
			}
			err := o.notify(t.Context(), <-o.waiting)
			if (err == nil) != (tt.want != "") {
				t.Fatalf("got error %v", err)
			}
			select {
			case got := <-recorder.Events:
				if tt.want == "" || !strings.Contains(got, tt.want) || !strings.Contains(got, "is refused") {
					t.Errorf("got %q", got)
				}
			default:
				if tt.want != "" {
					t.Error("nobody was told")
				}
			}
		})
	}
}

func TestManyNoticesAreNotKept(t *testing.T) {
	o := newOwners(nil, nil, logr.Discard())
	for i := range waitingOwners * 2 {
		object := &workload.Object{Owner: &metav1.ObjectMeta{OwnerReferences: []metav1.OwnerReference{ref("ReplicaSet", "x", types.UID(strconv.Itoa(i)))}}}
		o.tell(shop, "AdmissionRefused", object, "x")
	}
	if len(o.waiting) != waitingOwners {
		t.Errorf("%d notices wait", len(o.waiting))
	}
}

func TestReferencesOfAnySizeAreNotKept(t *testing.T) {
	o := newOwners(nil, nil, logr.Discard())
	huge := strings.Repeat("x", 1<<20)
	for _, owner := range []metav1.OwnerReference{ref("ReplicaSet", "x", types.UID(huge)), ref("ReplicaSet", huge, "x"), ref(huge, "x", "x")} {
		o.tell(shop, "AdmissionRefused", &workload.Object{Owner: &metav1.ObjectMeta{OwnerReferences: []metav1.OwnerReference{owner}}}, huge)
	}
	if len(o.waiting) != 0 || o.told.Len() != 0 {
		t.Errorf("%d notices wait, %d are remembered", len(o.waiting), o.told.Len())
	}
	o.tell(shop, "AdmissionRefused", &workload.Object{Owner: &metav1.ObjectMeta{OwnerReferences: []metav1.OwnerReference{ref("ReplicaSet", "x", "x")}}}, huge)
	if n := <-o.waiting; len(n.message) > maxNote+len("…") {
		t.Errorf("a notice has %d bytes", len(n.message))
	}
}
