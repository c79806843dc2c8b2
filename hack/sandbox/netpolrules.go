//go:build linux

package main

import (
	"fmt"
	"slices"
	"strings"
)

// netpolTable is the table of nft that has all of the rules and nothing else.
const netpolTable = "basewright-netpol"

// netpolTemplate is one transaction of nft: a packet meets all of the old rules, or all of these.
//
// kube-proxy has put pods' addresses in the place of Services' before these hooks. What the node itself sends, probes of
// the kubelet among it, goes by another hook, which has no rules here. Answers are let through whatever became of the
// policy meanwhile: a new policy ends no connection.
const netpolTemplate = `add table inet {{.Table}}
delete table inet {{.Table}}
table inet {{.Table}} {
	set pods {
		type ipv4_addr
		{{- .Pods}}
	}
	set own {
		type ipv4_addr . ipv4_addr
		{{- .Own}}
	}
	map egress {
		type ipv4_addr : verdict
		{{- .Egress}}
	}
	map ingress {
		type ipv4_addr : verdict
		{{- .Ingress}}
	}
	chain input {
		type filter hook input priority filter; policy accept;
		iifname "lo" accept
		jump check
	}
	chain forward {
		type filter hook forward priority filter; policy accept;
		ct state established,related accept
		ip daddr {{.Range}} ip daddr != @pods drop
		jump check
	}
	chain check {
		ct state established,related accept
		# A pod's cable carries what has the pod's own address, and no IPv6, which pods don't have.
		iifname != "{{.Link}}" meta nfproto ipv6 drop
		iifname != "{{.Link}}" fib saddr . iif oif missing drop
		# Nobody knows yet whose address this is, or whose it was.
		ip saddr {{.Range}} ip saddr != @pods drop
		# No policy keeps a pod from itself, which it may reach through a Service.
		ip saddr . ip daddr @own accept
		ip saddr vmap @egress
		ip daddr vmap @ingress
	}
{{- range .Chains}}
	# {{.Pod}}
	chain {{.Name}} {
		{{- range .Allowed}}
		{{with .}}{{.}} {{end}}return
		{{- end}}
		drop
	}
{{- end}}
}
`

// netpolChain is what one isolated direction of a pod allows.
type netpolChain struct {
	Name, Pod string
	Allowed   []string
}

// netpolRules are the rules as text. Without guards, no pod may do anything.
func netpolRules(guards []podGuard) string {
	var pods, own, egress, ingress []string
	var chains []netpolChain
	for _, guard := range guards {
		address := guard.Address.String()
		pods, own = append(pods, address), append(own, address+" . "+address)
		add := func(verdicts []string, name string, d direction) []string {
			if !d.Isolated {
				return verdicts
			}
			name += "-" + address
			chains = append(chains, netpolChain{Name: name, Pod: guard.Name, Allowed: slices.Compact(slices.Sorted(slices.Values(d.Allowed)))})
			return append(verdicts, address+" : jump "+name)
		}
		egress, ingress = add(egress, "egress", guard.Egress), add(ingress, "ingress", guard.Ingress)
	}
	return string(render("netpol", netpolTemplate, map[string]any{
		"Table": netpolTable, "Range": podRange, "Link": nodeLink, "Chains": chains,
		"Pods": elements(pods), "Own": elements(own), "Egress": elements(egress), "Ingress": elements(ingress),
	}))
}

// elements is nothing for none: nft takes no empty braces.
func elements(items []string) string {
	if len(items) == 0 {
		return ""
	}
	return fmt.Sprintf("\n\t\telements = { %s }", strings.Join(items, ", "))
}
