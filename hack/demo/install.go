package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

type object = map[string]any

// install puts the operator of this checkout into the sandbox: images into its registry, then config/default with an
// overlay that names them, the mirrors, the CA and the Sigstore.
func (d *demo) install(ctx context.Context) error {
	d.say("loading the operator's images into the registry")
	operator, err := d.load(ctx, "operator")
	if err != nil {
		return err
	}
	worker, err := d.load(ctx, "worker", "bin/linux-amd64/probe.gz=/probes/probe-linux-amd64.gz", "bin/linux-arm64/probe.gz=/probes/probe-linux-arm64.gz")
	if err != nil {
		return err
	}
	webhook, err := d.load(ctx, "webhook")
	if err != nil {
		return err
	}
	images, err := d.scannerImages(ctx)
	if err != nil {
		return err
	}
	images["kaniko"], images["worker"] = kanikoImage(), worker
	if err := writeOverlay(operator, webhook, images); err != nil {
		return err
	}
	d.say("installing config/default")
	if _, err := d.output(ctx, d.kubectl, "apply", "--server-side", "--force-conflicts", "-k", installDir); err != nil {
		return err
	}
	d.say("waiting for the operator and the webhook")
	if _, err := d.output(ctx, d.kubectl, "wait", "--for=condition=Established", "--timeout=1m",
		"crd/baseimages.basewright.dev", "crd/baseimagebuilds.basewright.dev", "crd/imageadmissionpolicies.basewright.dev"); err != nil {
		return err
	}
	for _, program := range []string{"operator", "webhook"} {
		if _, err := d.output(ctx, d.kubectl, "--namespace=basewright-system", "rollout", "status", "deployment/basewright-"+program, "--timeout=5m"); err != nil {
			return err
		}
		if err := d.awaitEndOfOldPods(ctx, program); err != nil {
			return err
		}
	}
	d.say("the operator and the webhook are up")
	return nil
}

// awaitEndOfOldPods waits for what rollout status does not: an operator that is being ended leads until it has ended, and a
// webhook that is being ended answers.
func (d *demo) awaitEndOfOldPods(ctx context.Context, program string) error {
	component := "app.kubernetes.io/component=" + program
	current, err := d.output(ctx, d.kubectl, "--namespace=basewright-system", "get", "replicasets", "--selector="+component,
		"--output=jsonpath={.items[?(@.spec.replicas>0)].metadata.labels.pod-template-hash}")
	if err != nil {
		return err
	}
	_, err = d.output(ctx, d.kubectl, "--namespace=basewright-system", "wait", "--for=delete", "pod", "--timeout=2m",
		"--selector="+component+",pod-template-hash!="+current)
	return err
}

// load pushes an image of one of our binaries, with more files if it needs them, and returns it by digest.
func (d *demo) load(ctx context.Context, program string, more ...string) (string, error) {
	args := []string{"image",
		"--repository", registryHost + "/basewright/" + program, "--tag", "dev", "--entrypoint", "/" + program,
		"bin/linux-amd64/" + program + "=/" + program}
	return d.output(ctx, "bin/sandbox", append(args, more...)...)
}

// scannerImages are the sandbox's, by digest.
func (d *demo) scannerImages(ctx context.Context) (object, error) {
	images := object{}
	for scanner, tag := range map[string]string{"syft": "v1.42.3", "grype": "v0.110.0", "trivy": "0.65.0"} {
		reference, err := d.output(ctx, "bin/sandbox", "digest", "sandbox/"+scanner+":"+tag)
		if err != nil {
			return nil, err
		}
		images[scanner] = reference
	}
	return images, nil
}

// writeOverlay writes what differs from config/default here.
func writeOverlay(operator, webhook string, images object) error {
	ca, err := os.ReadFile(filepath.Join(sandboxDir, "ca.crt"))
	if err != nil {
		return fmt.Errorf("reading the sandbox's CA: %w", err)
	}
	trusted, err := os.ReadFile(filepath.Join(sandboxDir, trustedRoot))
	if err != nil {
		return fmt.Errorf("reading what the sandbox's Sigstore is trusted by: %w", err)
	}
	return writeFiles(installDir, map[string]any{
		"kustomization.yaml": object{
			"apiVersion": "kustomize.config.k8s.io/v1beta1",
			"kind":       "Kustomization",
			"resources":  []string{"../../config/default"},
			"images":     []object{replaced("operator", operator), replaced("webhook", webhook)},
			"configMapGenerator": []object{
				configMap("basewright-operator", "config.yaml", trustedRoot),
				configMap("basewright-webhook", "config.yaml="+webhookConfig, trustedRoot),
			},
		},
		trustedRoot:   json.RawMessage(trusted),
		"config.yaml": operatorConfiguration(string(ca), images),
		webhookConfig: webhookConfiguration(string(ca)),
	})
}

// replaced takes the place of a published image.
func replaced(program, reference string) object {
	name, digest, _ := strings.Cut(reference, "@")
	return object{"name": "ghcr.io/ibshafique/basewright-" + program, "newName": name, "digest": digest}
}

func configMap(name string, files ...string) object {
	return object{"name": name, "namespace": "basewright-system", "behavior": "replace", "files": files}
}

func operatorConfiguration(ca string, images object) object {
	return object{
		"apiVersion": "config.basewright.dev/v1alpha1",
		"kind":       "OperatorConfiguration",
		"images":     images,
		"databases": object{
			"trivy": object{"location": "oci://" + registryHost + "/databases/trivy-db:2"},
			"grype": object{"location": "https://" + databasesHost + "/grype/v6/latest.json"},
		},
		"sigstore": object{
			"fulcioURL":       "https://" + fulcioHost,
			"rekorURL":        "https://" + rekorHost,
			"timestampURL":    "https://" + timestampHost + "/api/v1/timestamp",
			"trustedRootFile": "/etc/basewright/" + trustedRoot,
		},
		// This project's own image is built from a repository that has the program.
		"limits":     object{"source": object{"fileBytes": "128Mi"}},
		"registries": registries(ca, registryHost, "git.basewright.test", databasesHost, fulcioHost, rekorHost, timestampHost),
	}
}

// webhookConfiguration needs less: verification asks no service.
func webhookConfiguration(ca string) object {
	return object{
		"apiVersion": "config.basewright.dev/v1alpha1",
		"kind":       "WebhookConfiguration",
		"sigstore":   object{"trustedRootFile": "/etc/basewright/" + trustedRoot},
		"registries": registries(ca, registryHost),
	}
}

func registries(ca string, privateHosts ...string) object {
	return object{"caBundle": ca, "mirrors": mirrors("docker.io", "gcr.io", "cgr.dev"), "privateHosts": privateHosts}
}

// kanikoImage is the default, or the one that the environment asks for.
func kanikoImage() string {
	if image := os.Getenv("KANIKO_IMAGE"); image != "" {
		return image
	}
	return registryHost + "/sandbox/kaniko:v1.27.5"
}

func mirrors(prefixes ...string) []object {
	var all []object
	for _, p := range prefixes {
		all = append(all, object{"prefix": p, "endpoint": registryHost + "/mirror/" + p})
	}
	return all
}

// writeFiles writes JSON, which is YAML too, so that no value needs quoting.
func writeFiles(dir string, files map[string]any) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("making %s: %w", dir, err)
	}
	for name, content := range files {
		raw, err := json.MarshalIndent(content, "", "  ")
		if err != nil {
			return fmt.Errorf("encoding %s: %w", name, err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), append(raw, '\n'), 0o644); err != nil {
			return fmt.Errorf("writing %s: %w", name, err)
		}
	}
	return nil
}
