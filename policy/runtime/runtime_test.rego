# Run with: conftest verify -p policy. The cases with whole pods, and the comparison with Kubernetes itself, are tests of internal/rules;
# here are the functions that the rules are made of.
package basewright.runtime

good := {
	"profile": "Restricted",
	"minor": 37,
	"windows": false,
	"template": false,
	"pod": {"field": "spec", "runAsNonRoot": true, "seccompProfile": "RuntimeDefault"},
	"contexts": [{"field": "spec"}, container_of_good],
	"containers": [container_of_good],
	"parameters": {},
}

container_of_good := {
	"field": "spec.containers[0]",
	"kind": "regular",
	"allowPrivilegeEscalation": false,
	"dropped": {"ALL"},
}

with_container(changes) := object.union(good, {"containers": [c], "contexts": [good.pod, c]}) if c := object.union(container_of_good, changes)

rules_of(findings) := {f.rule | some f in findings}

test_nothing_to_find if {
	count(deny) == 0 with input as good
}

test_a_finding_says_what_where_and_how if {
	deny == {{
		"rule": "privileged",
		"field": "spec.containers[0].securityContext.privileged",
		"message": "privileged is true, but containers must not be privileged",
		"fix": "leave privileged out",
	}} with input as with_container({"privileged": true})
}

# An input is not made by pods, but even one without anything in it does not pass what asks for something.
test_a_pod_without_anything_is_refused if {
	found := deny with input as {"profile": "Restricted", "windows": false, "pod": {"field": "spec"}, "containers": [{"field": "x"}]}
	rules_of(found) == {"run-as-non-root", "seccomp", "privilege-escalation", "capabilities"}
}

test_parameters_ask_for_what_is_missing if {
	parameters := {
		"users": [{"min": 1, "max": 2}], "readOnlyRootFilesystem": true, "requiredLimits": ["cpu"], "noImageShells": true,
		"imageLabels": ["a"], "imageMaxAge": 60, "serviceAccountToken": "Explicit",
	}
	found := deny with input as object.union(good, {"parameters": parameters, "template": true, "images": [{"field": "x"}]})
	rules_of(found) == {"user", "read-only-root-filesystem", "limits", "image-shell", "image-label", "image-age", "service-account-token"}
}

test_sysctls_of_a_version if {
	allowed_sysctl("net.ipv4.tcp_rmem") with input.minor as 32
	not allowed_sysctl("net.ipv4.tcp_rmem") with input.minor as 31
	not allowed_sysctl("kernel.msgmax") with input.minor as 99
}

test_types_of_selinux_of_a_version if {
	"container_engine_t" in selinux_types with input.minor as 31
	not "container_engine_t" in selinux_types with input.minor as 30
}

test_probes_name_hosts_before_they_must_not if {
	probing := {"hosts": [{"field": "x", "host": "y"}]}
	count(deny) == 1 with input as with_container(probing)
	count(deny) == 0 with input as object.union(with_container(probing), {"minor": 33})
}

test_users_are_within_ranges if {
	ranges := [{"min": 5, "max": 7}, {"min": 10, "max": 10}]
	every number in [5, 6, 7, 10] {
		allowed_user({"runAsUser": number}) with input.parameters.users as ranges
	}
	every number in [-1, 0, 4, 8, 11] {
		not allowed_user({"runAsUser": number}) with input.parameters.users as ranges
	}
	user_ranges == "5 to 7 or 10" with input.parameters.users as ranges
}

test_a_container_says_who_it_runs_as_before_its_pod_and_its_image if {
	image := {"image": {"uid": 3}}
	user(object.union(image, {"runAsUser": 0})) == 0 with input.pod as {"runAsUser": 2}
	user(image) == 2 with input.pod as {"runAsUser": 2}
	user(image) == 3 with input.pod as {}
	not user({}) with input.pod as {}
}

test_annotations_of_apparmor if {
	every value in ["", "runtime/default", "localhost/x"] {
		allowed_apparmor({"value": value})
	}
	every value in ["unconfined", "localhost", "runtime/default/x", " "] {
		not allowed_apparmor({"value": value})
	}
}

test_durations if {
	duration(0) == "0 minutes"
	duration(7199) == "119 minutes"
	duration(7200) == "2 hours"
	duration(172799) == "47 hours"
	duration(172800) == "2 days"
}

test_long_texts_are_shortened if {
	long := concat("", ["é" | some _ in numbers.range(1, 101)])
	count(shown(long)) == 100
	endswith(shown(long), "...")
	shown("short") == "short"
}
