# What a policy asks for beside the Pod Security Standards. A parameter that is not there asks for nothing.
package basewright.runtime

deny contains finding("user", field, why, fix) if {
	input.parameters.users
	input.windows == false
	some container in input.containers
	not allowed_user(container)
	field := security(container, "runAsUser")
	why := sprintf("%s, but it must run as %s", [user_found(container), user_ranges])
	fix := sprintf("write runAsUser: %d, here or in spec.securityContext of the pod", [input.parameters.users[0].min])
}

deny contains finding("read-only-root-filesystem", field, why, "write readOnlyRootFilesystem: true, and mount an emptyDir where the program writes") if {
	input.parameters.readOnlyRootFilesystem == true
	input.windows == false
	some container in input.containers
	not container.readOnlyRootFilesystem == true
	field := security(container, "readOnlyRootFilesystem")
	why := sprintf("readOnlyRootFilesystem is %s, but it must be true", [found(container, "readOnlyRootFilesystem")])
}

# A volume that the cluster has added is there because nobody said no.
deny contains finding("service-account-token", automount, why, "write automountServiceAccountToken: false, or true if the pod needs the token") if {
	input.parameters.serviceAccountToken == "Explicit"
	some token in input.tokens
	token.added == true
	not input.automount == true
	why := sprintf("the pod has a token of its ServiceAccount (volume %s) without asking for it", [shown(token.volume)])
}

deny contains finding("service-account-token", automount, why, "write automountServiceAccountToken: false") if {
	input.parameters.serviceAccountToken == "Forbid"
	some token in input.tokens
	token.added == true
	why := sprintf("the pod has a token of its ServiceAccount (volume %s), but tokens are not allowed", [shown(token.volume)])
}

deny contains finding("service-account-token", token.field, why, "remove it") if {
	input.parameters.serviceAccountToken == "Forbid"
	some token in input.tokens
	token.added == false
	why := sprintf("the volume %s has a token of the ServiceAccount, but tokens are not allowed", [shown(token.volume)])
}

# A template has no such volume yet: its pods will have one unless it, or its ServiceAccount, says no.
deny contains finding("service-account-token", automount, why, "write automountServiceAccountToken: false, or true if the pods need the token") if {
	input.parameters.serviceAccountToken == "Explicit"
	input.template == true
	not input.automount == true
	not input.automount == false
	not input.accountAutomount == false
	why := "it is not set, so the pods will have a token of their ServiceAccount without asking for it"
}

deny contains finding("service-account-token", automount, why, "write automountServiceAccountToken: false") if {
	input.parameters.serviceAccountToken == "Forbid"
	input.template == true
	not input.automount == false
	not account_says_no
	why := "the pods will have a token of their ServiceAccount, but tokens are not allowed"
}

# Limits of an ephemeral container can't be set.
deny contains finding("limits", field, why, sprintf("write limits: {%s: …}", [name])) if {
	some name in input.parameters.requiredLimits
	some container in input.containers
	container.kind != "ephemeral"
	not container.limits[name]
	field := sprintf("%s.resources.limits.%s", [container.field, name])
	why := sprintf("there is no limit of %s above 0, but there must be one", [name])
}

deny contains finding("image-shell", image.field, why, "use an image without a shell, whose runtime tests are attested") if {
	input.parameters.noImageShells == true
	some image in input.images
	not image.shells == "None"
	why := sprintf("%s, but the image must have no shell", [shells_found(image)])
}

deny contains finding("image-label", image.field, why, "use an image that has the label") if {
	some label in input.parameters.imageLabels
	some image in input.images
	not has_label(image, label)
	why := sprintf("%s, but the image must have the label %s with a value", [label_found(image), label])
}

deny contains finding("image-age", image.field, why, "use an image that was built again") if {
	input.parameters.imageMaxAge
	some image in input.images
	not young(image)
	why := sprintf("%s, but the image must have been signed within %s", [age_found(image), duration(input.parameters.imageMaxAge)])
}
