# What the rules for pods are made of.
#
# Beware of not f(x.y): without x.y it is undefined, and not true, so that the rule does not fire where it has to. What may be missing
# is therefore asked for by not x.y, by not x.y == z, or in a function of x.
package basewright.runtime

# finding is what the rule of that name finds: where, what was expected and what is there, and what to write.
finding(rule, field, message, fix) := {"rule": rule, "field": field, "message": message, "fix": fix}

# security is a field of the security context of a container or of the pod.
security(context, name) := sprintf("%s.securityContext.%s", [context.field, name])

automount := sprintf("%s.automountServiceAccountToken", [input.pod.field])

# shown is a text of a pod, shortened.
shown(text) := text if count(text) <= 100

shown(text) := sprintf("%s...", [substring(text, 0, 97)]) if count(text) > 100

found(container, name) := sprintf("%v", [container[name]]) if is_boolean(container[name])

found(container, name) := "not set" if {
	not container[name] == true
	not container[name] == false
}

default_capabilities := {
	"AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD",
	"NET_BIND_SERVICE", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
}

dropped(container) := sprintf("only %s is", [shown(concat(", ", container.dropped))]) if drops(container)

dropped(container) := "nothing is" if not drops(container)

drops(container) if count(container.dropped) > 0

allowed_apparmor(annotation) if annotation.value in {"", "runtime/default"}

allowed_apparmor(annotation) if startswith(annotation.value, "localhost/")

seccomp_types := {"RuntimeDefault", "Localhost"}

forbidden_seccomp(type) := sprintf("the seccomp profile is %q, but only RuntimeDefault and Localhost are allowed", [shown(type)])

selinux_types contains type if some type in ["container_t", "container_init_t", "container_kvm_t"]

selinux_types contains "container_engine_t" if input.minor >= 31

# sysctls are those that touch nobody else, with the minor version since which they are allowed.
sysctls := {
	"kernel.shm_rmid_forced": 0,
	"net.ipv4.ip_local_port_range": 0,
	"net.ipv4.ip_unprivileged_port_start": 0,
	"net.ipv4.ping_group_range": 0,
	"net.ipv4.tcp_syncookies": 0,
	"net.ipv4.ip_local_reserved_ports": 27,
	"net.ipv4.tcp_fin_timeout": 29,
	"net.ipv4.tcp_keepalive_intvl": 29,
	"net.ipv4.tcp_keepalive_probes": 29,
	"net.ipv4.tcp_keepalive_time": 29,
	"net.ipv4.tcp_rmem": 32,
	"net.ipv4.tcp_wmem": 32,
	"net.ipv4.tcp_notsent_lowat": 37,
	"net.ipv4.tcp_slow_start_after_idle": 37,
}

volume_types := {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim", "projected", "secret"}

allowed_sysctl(name) if sysctls[name] <= input.minor

# In a user namespace, root is nobody on the node.
root_is_nobody if {
	input.pod.hostUsers == false
	input.minor >= 35
}

proc_mount_is_free if {
	input.profile == "Baseline"
	root_is_nobody
}

# user is who a container runs as: by itself, by its pod, or by its image.
user(container) := container.runAsUser if container.runAsUser

else := input.pod.runAsUser if input.pod.runAsUser

else := container.image.uid if container.image.uid

allowed_user(container) if {
	number := user(container)
	some range in input.parameters.users
	number >= range.min
	number <= range.max
}

user_ranges := concat(" or ", [text |
	some range in input.parameters.users
	text := user_range(range)
])

user_range(range) := sprintf("%d", [range.min]) if range.min == range.max

user_range(range) := sprintf("%d to %d", [range.min, range.max]) if range.min != range.max

user_found(container) := sprintf("runAsUser is %d", [container.runAsUser]) if container.runAsUser

else := sprintf("runAsUser of the pod is %d", [input.pod.runAsUser]) if input.pod.runAsUser

else := sprintf("the image runs as user %d", [container.image.uid]) if container.image.uid

else := sprintf("runAsUser is not set, and nobody knows the number of the user %q of the image", [shown(container.image.user)]) if container.image.user

else := "runAsUser is not set, and nothing is known of the image"

account_says_no if {
	input.accountAutomount == false
	not input.automount == true
}

shells_found(image) := "nothing is known of the image" if not image.known

shells_found(image) := "a shell was found" if {
	image.known
	image.shells == "Found"
}

shells_found(image) := "no test attests whether there is a shell" if {
	image.known
	not image.shells == "Found"
}

has_label(image, label) if trim_space(image.labels[label]) != ""

young(image) if image.age <= input.parameters.imageMaxAge

label_found(image) := "the label is missing or empty" if image.known

label_found(image) := "nothing is known of the image" if not image.known

age_found(image) := "nothing is known of the image" if not image.known

age_found(image) := "nobody says when it was signed" if {
	image.known
	not image.age
}

age_found(image) := sprintf("it was signed %s ago", [duration(image.age)]) if image.known

duration(seconds) := sprintf("%d days", [floor(seconds / 86400)]) if seconds >= 172800

duration(seconds) := sprintf("%d hours", [floor(seconds / 3600)]) if {
	seconds < 172800
	seconds >= 7200
}

duration(seconds) := sprintf("%d minutes", [floor(seconds / 60)]) if seconds < 7200
