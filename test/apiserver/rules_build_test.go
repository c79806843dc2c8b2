//go:build apiserver

package apiserver

import "strconv"

func completeBuild() map[string]any {
	return map[string]any{
		"spec": completeGates(map[string]any{
			"baseImage": "a", "attempt": 1, "reason": "SpecChanged", "reasons": []any{map[string]any{"type": "SpecChanged"}},
			"inputs": map[string]any{}, "dockerfile": "FROM scratch", "dockerfilePath": "Dockerfile", "timeout": "1h",
			"source":     map[string]any{"inline": map[string]any{"dockerfile": "FROM scratch", "files": map[string]any{}}},
			"sourceTime": "2025-03-01T02:03:04Z",
			"buildArgs":  []any{map[string]any{"name": "A"}},
			"upstreams":  []any{map[string]any{"ref": "a", "name": "a", "digest": digest, "pull": "a"}},
			"platforms":  []any{map[string]any{"platform": "linux/amd64"}},
			"output":     map[string]any{"repository": "registry.example/a", "tags": []any{"latest"}, "pushSecretRef": map[string]any{"name": "push"}},
		}),
		"status": completeResults(map[string]any{"platforms": []any{map[string]any{"platform": "linux/amd64", "digest": digest}}}),
	}
}

func buildSpecRules() map[string]rule {
	reason := func(int) any { return map[string]any{"type": "Requested"} }
	upstream := func(i int) any {
		return map[string]any{"ref": strconv.Itoa(i), "name": "a", "digest": digest, "pull": "a"}
	}
	rules := map[string]rule{
		"the BaseImage's name is not empty":    {field: "spec.baseImage", keyword: "minLength", good: "a", bad: "", says: "1"},
		"the BaseImage's name is short":        bounded("spec.baseImage", 63),
		"attempts start at 1":                  {field: "spec.attempt", keyword: "minimum", good: 1, bad: 0, says: "1"},
		"there is a reason":                    {field: "spec.reasons", keyword: "minItems", good: items(1, reason), bad: []any{}, says: "at least 1"},
		"there are at most 32 reasons":         {field: "spec.reasons", keyword: "maxItems", good: items(32, reason), bad: items(33, reason), says: "32"},
		"a reason is a known one":              {field: "spec.reasons[0].type", keyword: "enum", good: "UpstreamChanged", bad: "Bored", says: "UpstreamChanged"},
		"a reason may be a policy":             {field: "spec.reasons[0].type", keyword: "enum", good: "PolicyChanged", bad: "RulesChanged", says: "PolicyChanged"},
		"a reason has a type":                  {field: "spec.reasons[0].type", where: "spec.reasons[]", keyword: "required type", good: "Scheduled", bad: absent, says: "Required"},
		"an old value is short":                bounded("spec.reasons[0].old", 1024),
		"a new value is short":                 bounded("spec.reasons[0].new", 1024),
		"the reason for people is given":       {field: "spec.reason", keyword: "minLength", good: "a", bad: "", says: "1"},
		"the reason for people is short":       bounded("spec.reason", 256),
		"the Dockerfile is not empty":          {field: "spec.dockerfile", keyword: "minLength", good: "a", bad: "", says: "1"},
		"the Dockerfile is small":              bounded("spec.dockerfile", 131072),
		"the Dockerfile's path is given":       {field: "spec.dockerfilePath", keyword: "minLength", good: "a", bad: "", says: "1"},
		"the Dockerfile's path is short":       bounded("spec.dockerfilePath", 255),
		"there are at most 128 upstreams":      {field: "spec.upstreams", keyword: "maxItems", good: items(128, upstream), bad: items(129, upstream), says: "128"},
		"an upstream's digest is not cut":      {field: "spec.upstreams[0].digest", keyword: "minLength", good: digest, bad: digest[:70], says: "71"},
		"an upstream's digest has no more":     {field: "spec.upstreams[0].digest", keyword: "maxLength", good: digest, bad: digest + "a", says: "71"},
		"a timeout is at least a minute":       {field: "spec.timeout", keyword: "rule 0", good: "60s", bad: "59s", says: "between 1m and 24h"},
		"a timeout is at most a day":           {field: "spec.timeout", keyword: "rule 0", good: "24h", bad: "25h", says: "between 1m and 24h"},
		"a source is given":                    {field: "spec.source", keyword: "required source", where: "spec", good: map[string]any{"configMapRef": map[string]any{"name": "a"}}, bad: absent, says: "Required"},
		"an output is given":                   {field: "spec.output", keyword: "required output", where: "spec", good: map[string]any{"repository": "a.b/c"}, bad: absent, says: "Required"},
		"platforms are given":                  {field: "spec.platforms", keyword: "required platforms", where: "spec", good: platforms, bad: absent, says: "Required"},
		"reasons are given":                    {field: "spec.reasons", keyword: "required reasons", where: "spec", good: items(1, reason), bad: absent, says: "Required"},
		"retries are counted from 0":           {field: "spec.retry", keyword: "minimum", good: 0, bad: -1, says: "0"},
		"there are at most ten retries":        {field: "spec.retry", keyword: "maximum", good: 10, bad: 11, says: "10"},
		"the superseded build's name is short": bounded("spec.supersedes", 63),
		"inputs are given":                     {field: "spec.inputs", keyword: "required inputs", where: "spec", good: map[string]any{}, bad: absent, says: "Required"},
	}
	requires(rules, "spec", "baseImage", "attempt", "reason", "sourceTime", "dockerfile", "dockerfilePath", "timeout")
	requires(rules, "spec.upstreams[0]", "ref", "name", "digest", "pull")
	for _, name := range []string{"ref", "name", "pull"} {
		field := "spec.upstreams[0]." + name
		rules["an upstream's "+name+" is not empty"] = rule{field: field, keyword: "minLength", good: "a", bad: "", says: "1"}
		rules["an upstream's "+name+" is short"] = bounded(field, 512)
	}
	for name, limit := range map[string]int{"spec": 71, "revision": 128, "upstream": 71, "scheduledFor": 64, "requestedAt": 256, "pushSecret": 71,
		"policy": 71, "rules": 71, "vex": 71} {
		rules["the input "+name+" is short"] = bounded("spec.inputs."+name, limit)
	}
	return rules
}

func buildStatusRules() map[string]rule {
	platform := func(i int) any {
		return map[string]any{"platform": "linux/" + strconv.Itoa(i), "digest": digest}
	}
	rules := map[string]rule{
		"conditions have different types": {field: "status.conditions", keyword: "unique", blames: "status.conditions[1]", good: conditions("A", "B"), bad: conditions("A", "A"), says: "Duplicate"},
		"a phase is a known one":          {field: "status.phase", keyword: "enum", good: "Indexing", bad: "Done", says: "Indexing"},
		"two platforms were built":        {field: "status.platforms", keyword: "maxItems", good: items(2, platform), bad: items(3, platform), says: "2"},
		"the index's digest is short":     {field: "status.digest", keyword: "maxLength", good: digest, bad: digest + "a", says: "71"},
		"places in the queue start at 1":  {field: "status.queuePosition", keyword: "minimum", good: 1, bad: 0, says: "1"},
		"the duration is short":           bounded("status.duration", 32),
	}
	for _, phase := range []string{"Checking", "Inspecting", "Scanning", "Testing", "Attesting", "Signing", "Verifying"} {
		rules["a phase may be "+phase] = rule{field: "status.phase", keyword: "enum", good: phase, bad: phase + "s", says: phase}
	}
	platformImageRules(rules, "status.platforms")
	signatureRules(rules, "status")
	return rules
}
