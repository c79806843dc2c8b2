//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

const (
	// netpolCommand is the internal subcommand that enforces NetworkPolicies.
	netpolCommand = "netpol"
	// nftWithin is how long nft may take to load the rules.
	nftWithin = 30 * time.Second
)

// runNetpol turns the cluster's NetworkPolicies into rules of the node for as long as it runs. When it ends, the rules stay,
// and no pod starts until it is back.
func runNetpol(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return errUsage
	}
	config, err := clientcmd.BuildConfigFromFlags("", args[0])
	if err != nil {
		return fmt.Errorf("reading the enforcer's kubeconfig: %w", err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("making the enforcer's client: %w", err)
	}
	view, changed, err := watchCluster(ctx, client)
	if err != nil {
		return err
	}
	e := newEnforcer(view, changed, loadRules)
	if err := e.listen(ctx, netpolSocket); err != nil {
		return err
	}
	return e.run(ctx)
}

// watchCluster returns what the apiserver knows at any moment, and a channel that says when it may have changed.
func watchCluster(ctx context.Context, client kubernetes.Interface) (func() (clusterView, error), <-chan struct{}, error) {
	factory := informers.NewSharedInformerFactory(client, 0)
	pods, policies, namespaces := factory.Core().V1().Pods(), factory.Networking().V1().NetworkPolicies(), factory.Core().V1().Namespaces()
	changed := make(chan struct{}, 1)
	notify := func() {
		select {
		case changed <- struct{}{}:
		default: // The last one was not heard yet, and will be for this one too.
		}
	}
	handler := cache.ResourceEventHandlerFuncs{
		AddFunc: func(any) { notify() }, UpdateFunc: func(any, any) { notify() }, DeleteFunc: func(any) { notify() },
	}
	for _, informer := range []cache.SharedIndexInformer{pods.Informer(), policies.Informer(), namespaces.Informer()} {
		if _, err := informer.AddEventHandler(handler); err != nil {
			return nil, nil, fmt.Errorf("watching the cluster: %w", err)
		}
	}
	factory.Start(ctx.Done())
	for kind, synced := range factory.WaitForCacheSync(ctx.Done()) {
		if !synced {
			return nil, nil, fmt.Errorf("watching the cluster: there is no list of %v: %w", kind, context.Cause(ctx))
		}
	}
	notify()
	return func() (view clusterView, err error) {
		var failed [3]error
		view.pods, failed[0] = pods.Lister().List(labels.Everything())
		view.policies, failed[1] = policies.Lister().List(labels.Everything())
		view.namespaces, failed[2] = namespaces.Lister().List(labels.Everything())
		return view, errors.Join(failed[:]...)
	}, changed, nil
}

// claim says which address a pod got, before it has it.
type claim struct {
	UID     types.UID  `json:"uid"`
	Address netip.Addr `json:"address"`
}

// announcement is a claim whose pod waits, until ctx is done, for its rules to be loaded.
type announcement struct {
	claim
	ctx    context.Context
	loaded chan struct{}
}

// enforcer keeps the rules as the cluster wants them. Only run's goroutine touches its fields.
type enforcer struct {
	view      func() (clusterView, error)
	changed   <-chan struct{}
	announced chan announcement
	load      func(ctx context.Context, rules string) error

	claims   map[types.UID]netip.Addr
	waiting  []announcement
	rules    string
	problems []string
}

func newEnforcer(view func() (clusterView, error), changed <-chan struct{}, load func(context.Context, string) error) *enforcer {
	return &enforcer{view: view, changed: changed, load: load, announced: make(chan announcement), claims: map[types.UID]netip.Addr{}}
}

func (e *enforcer) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-e.changed:
		case a := <-e.announced:
			e.note(a)
		}
		if err := e.refresh(ctx); err != nil && ctx.Err() == nil {
			return err
		}
	}
}

// note takes an address away from whoever had it before.
func (e *enforcer) note(a announcement) {
	maps.DeleteFunc(e.claims, func(_ types.UID, address netip.Addr) bool { return address == a.Address })
	e.claims[a.UID] = a.Address
	e.waiting = append(e.waiting, a)
}

// refresh loads the rules if they have changed, and lets those pods start whose rules are loaded.
func (e *enforcer) refresh(ctx context.Context) error {
	view, err := e.view()
	if err != nil {
		return fmt.Errorf("listing what is in the cluster: %w", err)
	}
	e.forget(view.pods)
	view.claims = e.claims
	t := translate(view)
	e.report(t.problems)
	if t.rules != e.rules {
		if err := e.load(ctx, t.rules); err != nil {
			// What was loaded before may allow what no longer is.
			return errors.Join(fmt.Errorf("loading the rules: %w", err), e.load(ctx, netpolRules(nil)))
		}
		e.rules = t.rules
		slog.Info("rules are loaded", "pods", len(t.known), "policies", len(view.policies))
	}
	e.waiting = slices.DeleteFunc(e.waiting, func(a announcement) bool {
		if t.known[a.UID] != a.Address {
			return false
		}
		close(a.loaded)
		return true
	})
	return nil
}

// forget drops the claims of pods that are gone. A pod that waits may not have been heard of yet.
func (e *enforcer) forget(pods []*corev1.Pod) {
	e.waiting = slices.DeleteFunc(e.waiting, func(a announcement) bool { return a.ctx.Err() != nil })
	wanted := map[types.UID]bool{}
	for _, pod := range pods {
		wanted[pod.UID] = true
	}
	for _, a := range e.waiting {
		wanted[a.UID] = true
	}
	maps.DeleteFunc(e.claims, func(uid types.UID, _ netip.Addr) bool { return !wanted[uid] })
}

// report says each problem once.
func (e *enforcer) report(problems []string) {
	for _, problem := range problems {
		if !slices.Contains(e.problems, problem) {
			slog.Error("a policy can't be enforced", "problem", problem)
		}
	}
	e.problems = problems
}

// loadRules replaces the rules in one transaction.
func loadRules(ctx context.Context, rules string) error {
	ctx, cancel := context.WithTimeout(ctx, nftWithin)
	defer cancel()
	cmd := exec.CommandContext(ctx, "nft", "--file", "-")
	cmd.Stdin = strings.NewReader(rules)
	return runQuietly(cmd)
}
