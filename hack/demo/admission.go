package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const (
	// shop is a namespace in which pods are admitted by policies alone.
	shop = "shop"
	// app is an image that has a program, on one of those that were built.
	app           = "app"
	appRepository = registryHost + "/base/" + app
	signer        = "https://kubernetes.io/namespaces/basewright-system/serviceaccounts/basewright-signer"
	admissionDir  = sandboxDir + "/admission"
)

// appImage does nothing, without a shell.
func appImage() object {
	return object{
		"apiVersion": "basewright.dev/v1alpha1", "kind": "BaseImage", "metadata": object{"name": app, "namespace": namespace},
		"spec": object{
			"source": object{"inline": object{"dockerfile": strings.Join([]string{
				"FROM gcr.io/distroless/static-debian13:nonroot",
				"COPY --from=" + registryHost + "/sandbox/pause:1 /pause /pause",
				"LABEL org.opencontainers.image.title=app org.opencontainers.image.description=pause org.opencontainers.image.source=https://git.basewright.test/app",
				"USER 65532:65532",
				`ENTRYPOINT ["/pause"]`,
			}, "\n")}},
			"platforms": []object{{"platform": "linux/amd64"}},
			"output":    object{"repository": appRepository, "tags": []string{"v1"}, "pushSecretRef": object{"name": "registry-push"}},
		},
	}
}

// admission has a signed image run, and one that nobody signed refused.
func (d *demo) admission(ctx context.Context) error {
	d.say("waiting for the image %s", appRepository)
	if _, err := d.output(ctx, d.kubectl, "--namespace="+namespace, "wait", "--for=condition=Ready", "--timeout=10m", "baseimage/"+app); err != nil {
		return errors.Join(err, d.show(ctx, "--namespace="+namespace, "get", "baseimages,baseimagebuilds"))
	}
	if err := d.guard(ctx); err != nil {
		return err
	}
	// Of the same repository, by somebody who may push there: the tag is all that it has.
	if _, err := d.output(ctx, "bin/sandbox", "image", "--repository", appRepository, "--tag", "unsigned", "--entrypoint", "/worker", "bin/linux-amd64/worker=/worker"); err != nil {
		return err
	}
	if _, err := d.output(ctx, d.kubectl, "--namespace="+shop, "delete", "pods", "--all", "--ignore-not-found", "--wait"); err != nil {
		return err
	}
	err := writeFiles(admissionDir, map[string]any{"signed.yaml": pod("signed", appRepository+":v1"), "unsigned.yaml": pod("unsigned", appRepository+":unsigned")})
	if err != nil {
		return err
	}
	return errors.Join(d.signedRuns(ctx), d.unsignedIsRefused(ctx))
}

// guard makes a namespace and the policy for what runs there.
func (d *demo) guard(ctx context.Context) error {
	d.say("a namespace %s, and the policy for what runs there", shop)
	issuer, err := d.output(ctx, d.kubectl, "--namespace="+namespace, "get", "baseimage", app, "--output=jsonpath={.status.image.signature.issuer}")
	if err != nil {
		return err
	}
	if err := d.apply(ctx, policy(issuer), object{"apiVersion": "v1", "kind": "Namespace",
		"metadata": object{"name": shop, "labels": object{"basewright.dev/admission": "enforced"}}}); err != nil {
		return err
	}
	if _, err := d.output(ctx, d.kubectl, "wait", "--for=condition=Ready", "--timeout=1m", "imageadmissionpolicy/"+shop); err != nil {
		return err
	}
	return d.show(ctx, "get", "imageadmissionpolicies")
}

func policy(issuer string) object {
	return object{
		"apiVersion": "basewright.dev/v1alpha1", "kind": "ImageAdmissionPolicy", "metadata": object{"name": shop},
		"spec": object{
			"images":            []string{registryHost + "/base/**"},
			"namespaceSelector": object{"matchLabels": object{"kubernetes.io/metadata.name": shop}},
			"identities":        []object{{"issuer": issuer, "subject": signer}},
			"attestations":      []object{{"predicateType": "https://slsa.dev/provenance/v1"}},
		},
	}
}

// pod has what the profile Restricted asks for.
func pod(name, image string) object {
	return object{
		"apiVersion": "v1", "kind": "Pod", "metadata": object{"name": name, "namespace": shop},
		"spec": object{
			"automountServiceAccountToken": false,
			"securityContext":              object{"runAsNonRoot": true, "seccompProfile": object{"type": "RuntimeDefault"}},
			"containers": []object{{"name": "app", "image": image, "securityContext": object{
				"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": object{"drop": []string{"ALL"}}}}},
		},
	}
}

func (d *demo) signedRuns(ctx context.Context) error {
	if out, err := d.typed(ctx, "apply", "-f", filepath.Join(admissionDir, "signed.yaml")); err != nil {
		return fmt.Errorf("a signed image is not admitted: %w\n%s", err, out)
	}
	if _, err := d.output(ctx, d.kubectl, "--namespace="+shop, "wait", "--for=condition=Ready", "--timeout=3m", "pod/signed"); err != nil {
		return err
	}
	_, err := d.typed(ctx, "--namespace="+shop, "get", "pods", "--output=custom-columns=NAME:.metadata.name,STATUS:.status.phase,IMAGE:.spec.containers[*].image")
	return err
}

func (d *demo) unsignedIsRefused(ctx context.Context) error {
	out, err := d.typed(ctx, "apply", "-f", filepath.Join(admissionDir, "unsigned.yaml"))
	if err == nil {
		return errors.New("an image that nobody signed is admitted")
	}
	if !strings.Contains(out, "Pod unsigned is refused") {
		return fmt.Errorf("an image that nobody signed is not refused for that: %w", err)
	}
	return nil
}

// typed runs kubectl as a person does, and shows what that person sees.
func (d *demo) typed(ctx context.Context, args ...string) (string, error) {
	fmt.Printf("\n$ kubectl %s\n", strings.Join(args, " "))
	cmd := exec.CommandContext(ctx, d.kubectl, args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+filepath.Join(sandboxDir, "kubeconfig"))
	out, err := cmd.CombinedOutput()
	fmt.Printf("%s\n", bytes.TrimSpace(out))
	return string(out), err
}
