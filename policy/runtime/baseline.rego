# The controls of the Pod Security Standard baseline, which hold with every profile. docs/runtime-rules.md explains each.
#
# Every finding is in the set deny: each set costs, and every pod of a cluster passes here. For the same reason values that a pod
# does not have come before what has to be worked out.
package basewright.runtime

deny contains finding("privileged", field, "privileged is true, but containers must not be privileged", "leave privileged out") if {
	some container in input.containers
	container.privileged == true
	field := security(container, "privileged")
}

deny contains finding("host-namespaces", field, why, sprintf("leave %s out", [name])) if {
	some name in ["hostNetwork", "hostPID", "hostIPC"]
	input.pod[name] == true
	field := sprintf("%s.%s", [input.pod.field, name])
	why := sprintf("%s is true, but pods must not share namespaces of the node", [name])
}

deny contains finding("capabilities", field, why, fix) if {
	input.profile == "Baseline"
	some container in input.containers
	some i, added in container.added
	not added in default_capabilities
	field := security(container, sprintf("capabilities.add[%d]", [i]))
	why := sprintf("%q is added, but only %s may be", [shown(added), concat(", ", default_capabilities)])
	fix := sprintf("remove %q", [shown(added)])
}

deny contains finding("host-path", field, "a directory of the node is mounted, but hostPath volumes are not allowed", "use another type of volume") if {
	some volume in input.volumes
	"hostPath" in volume.types
	field := sprintf("%s.hostPath", [volume.field])
}

deny contains finding("host-ports", used.field, why, "leave hostPort out, and use a Service") if {
	some container in input.containers
	some used in container.hostPorts
	why := sprintf("port %d of the node is used, but host ports are not allowed", [used.port])
}

deny contains finding("host-probes", used.field, why, "leave host out: the pod itself is asked then") if {
	some container in input.containers
	some used in container.hosts
	input.minor >= 34
	why := sprintf("the kubelet is sent to %q, but probes and handlers must not name a host", [shown(used.host)])
}

deny contains finding("apparmor", field, why, "use RuntimeDefault or Localhost, or leave appArmorProfile out") if {
	some context in input.contexts
	type := context.appArmorProfile
	not type in {"RuntimeDefault", "Localhost"}
	field := security(context, "appArmorProfile.type")
	why := sprintf("the AppArmor profile is %q, but only RuntimeDefault and Localhost are allowed", [shown(type)])
}

deny contains finding("apparmor", annotation.field, why, "use runtime/default or localhost/…, or remove the annotation") if {
	some annotation in input.appArmorAnnotations
	not allowed_apparmor(annotation)
	why := sprintf("the AppArmor profile is %q, but only runtime/default and localhost/… are allowed", [shown(annotation.value)])
}

deny contains finding("selinux", field, why, "use container_t, or leave type out") if {
	some context in input.contexts
	type := context.seLinuxOptions.type
	not type in selinux_types
	field := security(context, "seLinuxOptions.type")
	why := sprintf("the SELinux type is %q, but only %s are allowed", [shown(type), concat(", ", selinux_types)])
}

deny contains finding("selinux", field, why, sprintf("leave %s out", [name])) if {
	some context in input.contexts
	some name in ["user", "role"]
	value := context.seLinuxOptions[name]
	field := security(context, sprintf("seLinuxOptions.%s", [name]))
	why := sprintf("the SELinux %s is %q, but it must not be set", [name, shown(value)])
}

# With profile Restricted, seccomp.rego of that profile asks for more.
deny contains finding("seccomp", security(context, "seccompProfile.type"), forbidden_seccomp(type), "write RuntimeDefault") if {
	input.profile == "Baseline"
	some context in input.contexts
	type := context.seccompProfile
	not type in seccomp_types
}

deny contains finding("proc-mount", field, why, "leave procMount out") if {
	some container in input.containers
	value := container.procMount
	value != "Default"
	not proc_mount_is_free
	field := security(container, "procMount")
	why := sprintf("procMount is %q, but only Default is allowed", [shown(value)])
}

deny contains finding("sysctls", field, why, "remove it, or use one of the allowed ones") if {
	some i, name in input.sysctls
	not allowed_sysctl(name)
	field := security(input.pod, sprintf("sysctls[%d].name", [i]))
	why := sprintf("%q is set, but only these sysctls are allowed: %s", [shown(name), concat(", ", [n | some n, _ in sysctls; allowed_sysctl(n)])])
}

deny contains finding("host-process", field, "hostProcess is true, but containers must not be processes of the node", "leave hostProcess out") if {
	some context in input.contexts
	context.hostProcess == true
	field := security(context, "windowsOptions.hostProcess")
}
