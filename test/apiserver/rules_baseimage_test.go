//go:build apiserver

package apiserver

import (
	"strconv"
	"strings"
)

func completeBaseImage() map[string]any {
	return map[string]any{
		"spec": completeGates(map[string]any{
			"source":    map[string]any{"inline": map[string]any{"dockerfile": "FROM scratch", "files": map[string]any{}}},
			"buildArgs": []any{map[string]any{"name": "A"}},
			"platforms": []any{map[string]any{"platform": "linux/amd64"}},
			"output":    map[string]any{"repository": "registry.example/a", "tags": []any{"latest"}, "pushSecretRef": map[string]any{"name": "push"}},
			"upstream":  map[string]any{},
			"history":   map[string]any{},
		}),
		"status": map[string]any{
			"image": map[string]any{
				"reference": "registry.example/a@" + digest, "digest": digest, "repository": "registry.example/a",
				"tags": []any{"latest"}, "platforms": []any{map[string]any{"platform": "linux/amd64", "digest": digest}},
				"vulnerabilities": counts(), "signature": completeSignature(), "reports": []any{map[string]any{"platform": "linux/amd64", "packages": 0}},
			},
			"latestBuild": map[string]any{"name": "a-1", "attempt": 1, "inputs": map[string]any{}},
		},
	}
}

// baseImageDefaults are the rules that TestDefaults and TestDefaultsGiveWay prove.
func baseImageDefaults() []string {
	return defaultRules("spec.dockerfile", "spec.platforms", "spec.upstream", "spec.upstream.refresh", "spec.schedule", "spec.timeZone",
		"spec.history", "spec.history.successful", "spec.history.failed")
}

func baseImageSpecRules() map[string]rule {
	const cron = "0 0 * * *"
	source := map[string]any{"inline": map[string]any{"dockerfile": "FROM scratch"}}
	fromGit := uploading(map[string]any{"git": map[string]any{"url": "https://git.example/images"}})
	fromConfigMap := uploading(map[string]any{"configMapRef": named("files")})
	return map[string]rule{
		"a source is given":                {field: "spec.source", keyword: "required source", where: "spec", good: source, bad: absent, says: "Required"},
		"an output is given":               {field: "spec.output", keyword: "required output", where: "spec", good: map[string]any{"repository": "a.b/c"}, bad: absent, says: "Required"},
		"a target is a name":               {field: "spec.target", keyword: "pattern", good: "Build-1.x_y", bad: "a b", says: "should match"},
		"an inline Dockerfile has no name": {field: "spec.dockerfile", keyword: "rule 0", where: "spec", good: "Dockerfile", bad: "other", says: "must be Dockerfile for an inline source"},

		"findings of an inline source have no commit": {field: "spec", keyword: "rule 1", blames: githubPath, good: fromGit, bad: uploading(source), says: "needs a git source"},
		"findings of a ConfigMap have none":           {field: "spec", keyword: "rule 1", blames: githubPath, good: fromGit, bad: fromConfigMap, says: "needs a git source"},

		"the Dockerfile's path is not empty":   {git: true, field: "spec.dockerfile", keyword: "minLength", good: "a", bad: "", says: "1"},
		"the Dockerfile's path is short":       {git: true, field: "spec.dockerfile", keyword: "maxLength", good: text(255), bad: text(256), says: "255"},
		"the Dockerfile's path is relative":    {git: true, field: "spec.dockerfile", keyword: "rule 0", good: "a/..b", bad: "/a", says: "relative path"},
		"the Dockerfile's path has no dot dot": {git: true, field: "spec.dockerfile", keyword: "rule 0", good: "a/b", bad: "..", says: "'..'"},

		"a schedule is not empty":                  {field: "spec.schedule", keyword: "minLength", good: "@", bad: "", says: "1"},
		"a schedule is short":                      {field: "spec.schedule", keyword: "maxLength", good: text(128), bad: text(129), says: "128"},
		"a schedule has no time zone":              {field: "spec.schedule", keyword: "rule 0", good: cron, bad: "TZ=UTC " + cron, says: "spec.timeZone"},
		"a schedule has no cron time zone":         {field: "spec.schedule", keyword: "rule 0", good: "@daily", bad: "CRON_TZ=UTC " + cron, says: "spec.timeZone"},
		"a time zone is not empty":                 {field: "spec.timeZone", keyword: "minLength", good: "A", bad: "", says: "1"},
		"a time zone is short":                     {field: "spec.timeZone", keyword: "maxLength", good: text(64), bad: text(65), says: "64"},
		"jitter is not negative":                   {field: "spec.jitter", keyword: "rule 0", good: "0s", bad: "-1s", says: "between 0s and 24h"},
		"jitter is at most a day":                  {field: "spec.jitter", keyword: "rule 0", good: "24h", bad: "24h0m1s", says: "between 0s and 24h"},
		"a starting deadline is a minute":          {field: "spec.startingDeadline", keyword: "rule 0", good: "1m", bad: "59s", says: "between 1m and 168h"},
		"a starting deadline is in the week":       {field: "spec.startingDeadline", keyword: "rule 0", good: "168h", bad: "169h", says: "between 1m and 168h"},
		"a timeout is at least a minute":           {field: "spec.timeout", keyword: "rule 0", good: "60s", bad: "59s", says: "between 1m and 24h"},
		"a timeout is at most a day":               {field: "spec.timeout", keyword: "rule 0", good: "24h", bad: "25h", says: "between 1m and 24h"},
		"refresh is a policy":                      {field: "spec.upstream.refresh", keyword: "enum", good: "Never", bad: "Sometimes", says: "IfUnpinned"},
		"no retries are fewest":                    {field: "spec.retries", keyword: "minimum", good: 0, bad: -1, says: "0"},
		"ten retries are most":                     {field: "spec.retries", keyword: "maximum", good: 10, bad: 11, says: "10"},
		"upstreams are polled each minute at most": {field: "spec.upstream.pollInterval", keyword: "rule 0", good: "1m", bad: "59s", says: "0s, or between 1m and 168h"},
		"upstreams need not be polled":             {field: "spec.upstream.pollInterval", keyword: "rule 0", good: "0s", bad: "169h", says: "0s, or between 1m and 168h"},
		"a successful build is kept":               {field: "spec.history.successful", keyword: "minimum", good: 1, bad: 0, says: "1"},
		"at most 100 successful ones are":          {field: "spec.history.successful", keyword: "maximum", good: 100, bad: 101, says: "100"},
		"a failed build is kept":                   {field: "spec.history.failed", keyword: "minimum", good: 1, bad: 0, says: "1"},
		"at most 100 failed ones are":              {field: "spec.history.failed", keyword: "maximum", good: 100, bad: 101, says: "100"},
		"a jitter that is no duration":             {field: "spec.jitter", keyword: "rule 0", good: "1h30m", bad: "soon", says: "Duration"},
		"a starting deadline that is none":         {field: "spec.startingDeadline", keyword: "rule 0", good: "90m", bad: "7d", says: "Duration"},
		"a timeout that is no duration":            {field: "spec.timeout", keyword: "rule 0", good: "1h0m0s", bad: "60", says: "Duration"},
		"a refresh policy that is misspelt":        {field: "spec.upstream.refresh", keyword: "enum", good: "Always", bad: "always", says: "Always"},
		"a refresh policy that is hyphenated":      {field: "spec.upstream.refresh", keyword: "enum", good: "IfUnpinned", bad: "if-unpinned", says: "IfUnpinned"},
	}
}

// uploading is a spec with a source whose findings are to be shown by GitHub.
func uploading(source map[string]any) map[string]any {
	return map[string]any{
		"source": source, "output": map[string]any{"repository": "registry.example/a"}, "scan": map[string]any{"github": codeScanning()},
	}
}

func baseImageStatusRules() map[string]rule {
	tag := func(i int) any { return "v" + strconv.Itoa(i) }
	platform := func(i int) any {
		return map[string]any{"platform": "linux/" + strconv.Itoa(i), "digest": digest}
	}
	inputs := map[string]int{"spec": 71, "revision": 128, "upstream": 71, "scheduledFor": 64, "requestedAt": 256, "pushSecret": 71,
		"policy": 71, "rules": 71, "vex": 71}
	rules := map[string]rule{
		"conditions have different types":           {field: "status.conditions", keyword: "unique", blames: "status.conditions[1]", good: conditions("A", "B"), bad: conditions("A", "A"), says: "Duplicate"},
		"the next build is short":                   {field: "status.nextBuild", keyword: "maxLength", good: text(64), bad: text(65), says: "64"},
		"what is observed of the schedule is short": {field: "status.observedSchedule", keyword: "maxLength", good: text(256), bad: text(257), says: "256"},
		"the next build has a reason":               {field: "status.nextBuildReason", keyword: "enum", good: "Retried", bad: "Bored", says: "Scheduled"},
		"what had changed is short":                 {field: "status.latestBuild.because", keyword: "maxLength", good: text(1024), bad: text(1025), says: "1024"},
		"the reference is not empty":                {field: "status.image.reference", keyword: "minLength", good: "a", bad: "", says: "1"},
		"the reference is short":                    {field: "status.image.reference", keyword: "maxLength", good: text(512), bad: text(513), says: "512"},
		"the digest is not cut":                     {field: "status.image.digest", keyword: "minLength", good: digest, bad: digest[:70], says: "71"},
		"the digest has no more":                    {field: "status.image.digest", keyword: "maxLength", good: digest, bad: digest + "a", says: "71"},
		"the short digest is short":                 {field: "status.image.shortDigest", keyword: "maxLength", good: text(12), bad: text(13), says: "12"},
		"the repository is not empty":               {field: "status.image.repository", keyword: "minLength", good: "a", bad: "", says: "1"},
		"the repository is short":                   {field: "status.image.repository", keyword: "maxLength", good: text(255), bad: text(256), says: "255"},
		"at most 16 tags moved":                     {field: "status.image.tags", keyword: "maxItems", good: items(16, tag), bad: items(17, tag), says: "16"},
		"tags that moved are different":             {field: "status.image.tags", keyword: "unique", blames: "status.image.tags[1]", good: items(2, tag), bad: []any{"a", "a"}, says: "Duplicate"},
		"a tag that moved is not empty":             {field: "status.image.tags[0]", keyword: "minLength", good: "a", bad: "", says: "1"},
		"a tag that moved is short":                 {field: "status.image.tags[0]", keyword: "maxLength", good: text(128), bad: text(129), says: "128"},
		"a tag that moved has no signatures":        {field: "status.image.tags[0]", keyword: "rule 0", good: "sha256-1", bad: "sha256-" + digest[7:], says: "hold signatures"},
		"a tag that moved is a tag":                 {field: "status.image.tags[0]", keyword: "pattern", good: "_", bad: "-", says: "should match"},
		"two platforms were built":                  {field: "status.image.platforms", keyword: "maxItems", good: items(2, platform), bad: items(3, platform), says: "2"},
		"the architectures are short":               {field: "status.image.architectures", keyword: "maxLength", good: text(64), bad: text(65), says: "64"},
		"the size is short":                         {field: "status.image.size", keyword: "maxLength", good: text(32), bad: text(33), says: "32"},
		"the revision is short":                     {field: "status.image.revision", keyword: "maxLength", good: text(128), bad: text(129), says: "128"},
		"the build's name is short":                 {field: "status.image.build", keyword: "maxLength", good: text(63), bad: text(64), says: "63"},
		"the newest build has a name":               {field: "status.latestBuild.name", keyword: "minLength", good: "a", bad: "", says: "1"},
		"the newest name is short":                  {field: "status.latestBuild.name", keyword: "maxLength", good: text(63), bad: text(64), says: "63"},
		"attempts start at 1":                       {field: "status.latestBuild.attempt", keyword: "minimum", good: 1, bad: 0, says: "1"},
		"the build's reason is short":               {field: "status.latestBuild.reason", keyword: "maxLength", good: text(256), bad: text(257), says: "256"},
		"the newest build has a phase":              {field: "status.latestBuild.phase", keyword: "enum", good: "Promoting", bad: "Promoted", says: "Promoting"},
		"the tests in one word are short":           bounded("status.image.tests", 64),
	}
	countRules(rules, "status.image.vulnerabilities")
	signatureRules(rules, "status.image")
	reportRules(rules, "status.image.reports")
	notNegative(rules, "status.image", "packages")
	requires(rules, "status.image", "reference", "digest", "repository")
	requires(rules, "status.latestBuild", "name", "attempt")
	platformImageRules(rules, "status.image.platforms")
	for name, limit := range inputs {
		rules["the compared "+name+" is short"] = bounded("status.latestBuild.inputs."+name, limit)
	}
	return rules
}

// conditions are valid ones with these types.
func conditions(types ...string) []any {
	var out []any
	for _, t := range types {
		out = append(out, map[string]any{
			"type": t, "status": "True", "reason": "Tested", "message": "", "lastTransitionTime": "2025-03-01T02:03:04Z",
		})
	}
	return out
}

// bounded is the rule that a string has at most limit characters.
func bounded(field string, limit int) rule {
	return rule{field: field, keyword: "maxLength", good: text(limit), bad: text(limit + 1), says: strconv.Itoa(limit)}
}

// requires adds the rule that these fields of a parent are there; the value that passes is the one of the
// complete object.
func requires(rules map[string]rule, parent string, names ...string) {
	for _, name := range names {
		rules[parent+" has "+name] = rule{field: parent + "." + name, where: indexed.ReplaceAllString(parent, "[]"), keyword: "required " + name,
			good: example(parent + "." + name), bad: absent, says: "Required"}
	}
}

// example is a valid value of a required field.
func example(field string) any {
	switch name := field[strings.LastIndex(field, ".")+1:]; name {
	case "digest":
		return digest
	case "attempt", "attempts", "denied", "warned", "packages":
		return 1
	case "critical", "high", "medium", "low", "negligible", "unknown":
		return 0
	case "expires", "builtAt":
		return someday
	case "outcome":
		return "Passed"
	case "scanner":
		return "Trivy"
	case "platform":
		return "linux/amd64"
	case "timeout":
		return "1h"
	case "formats":
		return []any{"Legacy"}
	case "sourceTime", "signedAt":
		return "2025-03-01T02:03:04Z"
	default:
		return name
	}
}

// platformImageRules adds those of a list of platforms that were built.
func platformImageRules(rules map[string]rule, list string) {
	platform := func(name string) any { return map[string]any{"platform": name, "digest": digest} }
	requires(rules, list+"[0]", "platform", "digest")
	rules["a platform that was built is not empty"] = rule{field: list + "[0].platform", keyword: "minLength", good: "a", bad: "", says: "1"}
	rules["a platform that was built is short"] = bounded(list+"[0].platform", 64)
	rules["a platform's digest is not cut"] = rule{field: list + "[0].digest", keyword: "minLength", good: digest, bad: digest[:70], says: "71"}
	rules["a platform's digest has no more"] = rule{field: list + "[0].digest", keyword: "maxLength", good: digest, bad: digest + "a", says: "71"}
	rules["a size is not negative"] = rule{field: list + "[0].size", keyword: "minimum", good: 0, bad: -1, says: "0"}
	rules["platforms that were built are different"] = rule{field: list, keyword: "unique", blames: list + "[1]",
		good: []any{platform("a"), platform("b")}, bad: []any{platform("a"), platform("a")}, says: "Duplicate"}
}
