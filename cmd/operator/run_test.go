package main

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	var out bytes.Buffer
	o, err := parse(nil, &out)
	if err != nil || o.configFile != "/etc/basewright/config.yaml" || o.metricsAddress != ":8080" || o.healthAddress != ":8081" || !o.leaderElection {
		t.Errorf("defaults: got %+v, %v", o, err)
	}
	o, err = parse([]string{"--config=x", "--metrics-bind-address=0", "--health-probe-bind-address=:1", "--leader-elect=false", "--zap-log-level=debug"}, &out)
	if err != nil || o.configFile != "x" || o.metricsAddress != "0" || o.healthAddress != ":1" || o.leaderElection {
		t.Errorf("flags: got %+v, %v", o, err)
	}
}

func TestParseNamesWhatIsWrong(t *testing.T) {
	tests := map[string]struct {
		args []string
		says string
	}{
		"an unknown flag":          {[]string{"--confg=x"}, "flag provided but not defined: -confg"},
		"an extra argument":        {[]string{"--config=x", "start"}, `unexpected argument "start"`},
		"a flag without its value": {[]string{"--config"}, "flag needs an argument: -config"},
		"a value of another type":  {[]string{"--leader-elect=maybe"}, `invalid boolean value "maybe" for -leader-elect`},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			var out bytes.Buffer
			o, err := parse(tt.args, &out)
			if err == nil || o != nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %+v, %v", o, err)
			}
		})
	}
}

func TestHelpIsNoFailure(t *testing.T) {
	var out bytes.Buffer
	if _, err := parse([]string{"--help"}, &out); !errors.Is(err, flag.ErrHelp) || !strings.Contains(out.String(), "-metrics-bind-address") {
		t.Errorf("got %v and %q", err, out.String())
	}
	if err := run(t.Context(), []string{"--help"}); err != nil {
		t.Errorf("got %v", err)
	}
}

// A setting that is wrong stops the operator before it looks for a cluster.
func TestRunRefusesItsConfiguration(t *testing.T) {
	const good = "apiVersion: config.basewright.dev/v1alpha1\nkind: OperatorConfiguration\nimages: {kaniko: a.b/c:1, worker: a.b/d:1, syft: a.b/e:1, trivy: a.b/f:1, grype: a.b/g:1}\n"
	tests := map[string]struct{ content, says string }{
		"no images":                     {strings.Split(good, "images")[0], "images.kaniko"},
		"a field that is misspelt":      {good + "registry: {}", "registry: unknown field"},
		"a mirror without prefix":       {good + "registries: {mirrors: [{endpoint: a.b/c}]}", "registries.mirrors[0].prefix"},
		"a mirror without endpoint":     {good + "registries: {mirrors: [{prefix: docker.io, endpoint: a.b}, {prefix: quay.io}]}", "registries.mirrors[1].endpoint"},
		"a prefix without a registry":   {good + "registries: {mirrors: [{prefix: library, endpoint: a.b}]}", "registries.mirrors[0].prefix"},
		"an endpoint that is a URL":     {good + "registries: {mirrors: [{prefix: docker.io, endpoint: 'https://a.b'}]}", "registries.mirrors[0].endpoint"},
		"a prefix twice":                {good + "registries: {mirrors: [{prefix: docker.io, endpoint: a.b}, {prefix: index.docker.io, endpoint: c.d}]}", "registries.mirrors[1].prefix"},
		"authorities that are half one": {good + "registries: {caBundle: \"-----BEGIN CERTIFICATE-----\\nAA==\\n-----END CERTIFICATE-----\\n\"}", "registries.caBundle"},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "config.yaml")
			if err := os.WriteFile(path, []byte(tt.content), 0o644); err != nil {
				t.Fatal(err)
			}
			if err := run(t.Context(), []string{"--config=" + path}); err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v, which does not name %s", err, tt.says)
			}
		})
	}
	t.Run("no file", func(t *testing.T) {
		if err := run(t.Context(), []string{"--config=" + filepath.Join(t.TempDir(), "x")}); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("got %v", err)
		}
	})
}
