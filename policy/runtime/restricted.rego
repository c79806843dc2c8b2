# The controls of the Pod Security Standard restricted, beside those of baseline. They hold with profile Restricted.
package basewright.runtime

deny contains finding("volume-types", volume.field, why, "use one of the allowed types") if {
	input.profile == "Restricted"
	some volume in input.volumes
	some type in volume.types
	not type in volume_types
	why := sprintf("%s is a volume of type %s, but only %s are allowed", [shown(volume.name), type, concat(", ", volume_types)])
}

deny contains finding("volume-types", volume.field, why, "use one of the allowed types") if {
	input.profile == "Restricted"
	some volume in input.volumes
	count(volume.types) == 0
	why := sprintf("%s is a volume of a type that is not known here, but only %s are allowed", [shown(volume.name), concat(", ", volume_types)])
}

deny contains finding("privilege-escalation", field, why, "write allowPrivilegeEscalation: false") if {
	input.profile == "Restricted"
	input.windows == false
	some container in input.containers
	not container.allowPrivilegeEscalation == false
	field := security(container, "allowPrivilegeEscalation")
	why := sprintf("allowPrivilegeEscalation is %s, but it must be false", [found(container, "allowPrivilegeEscalation")])
}

deny contains finding("run-as-non-root", security(context, "runAsNonRoot"), "runAsNonRoot is false, but it must be true", "write runAsNonRoot: true") if {
	input.profile == "Restricted"
	some context in input.contexts
	context.runAsNonRoot == false
	not root_is_nobody
}

# What a container does not say, its pod says.
deny contains finding("run-as-non-root", field, why, "write runAsNonRoot: true, here or in spec.securityContext of the pod") if {
	input.profile == "Restricted"
	not input.pod.runAsNonRoot == true
	not input.pod.runAsNonRoot == false
	some container in input.containers
	not container.runAsNonRoot == true
	not container.runAsNonRoot == false
	not root_is_nobody
	field := security(container, "runAsNonRoot")
	why := "runAsNonRoot is not set, neither here nor for the pod, but it must be true"
}

deny contains finding("root-user", security(context, "runAsUser"), "runAsUser is 0, but containers must not run as root", "write another number, for example 65532") if {
	input.profile == "Restricted"
	some context in input.contexts
	context.runAsUser == 0
	not root_is_nobody
}

deny contains finding("seccomp", security(context, "seccompProfile.type"), forbidden_seccomp(type), "write RuntimeDefault") if {
	input.profile == "Restricted"
	input.windows == false
	some context in input.contexts
	type := context.seccompProfile
	not type in seccomp_types
}

deny contains finding("seccomp", field, why, "write seccompProfile: {type: RuntimeDefault}, here or in spec.securityContext of the pod") if {
	input.profile == "Restricted"
	input.windows == false
	not input.pod.seccompProfile
	some container in input.containers
	not container.seccompProfile
	field := security(container, "seccompProfile.type")
	why := "there is no seccomp profile, neither here nor for the pod, but it must be RuntimeDefault or Localhost"
}

deny contains finding("capabilities", security(container, "capabilities.drop"), why, `write drop: ["ALL"]`) if {
	input.profile == "Restricted"
	input.windows == false
	some container in input.containers
	not container.dropped.ALL
	why := sprintf("%s dropped, but ALL capabilities must be", [dropped(container)])
}

deny contains finding("capabilities", field, why, sprintf("remove %q", [shown(added)])) if {
	input.profile == "Restricted"
	input.windows == false
	some container in input.containers
	some i, added in container.added
	added != "NET_BIND_SERVICE"
	field := security(container, sprintf("capabilities.add[%d]", [i]))
	why := sprintf("%q is added, but only NET_BIND_SERVICE may be", [shown(added)])
}
