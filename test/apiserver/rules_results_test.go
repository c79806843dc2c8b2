//go:build apiserver

package apiserver

import (
	"maps"
	"strconv"
	"testing"
)

var severities = []string{"critical", "high", "medium", "low", "negligible", "unknown"}

func counts() map[string]any {
	out := map[string]any{}
	for _, severity := range severities {
		out[severity] = 0
	}
	return out
}

// completeResults are the parts of a build's status that gates write.
func completeResults(status map[string]any) map[string]any {
	status["dockerfilePolicy"] = map[string]any{"denied": 0, "warned": 0, "findings": []any{"a"}, "expired": []any{"a"}}
	status["scan"] = map[string]any{
		"packages": 0, "vulnerabilities": counts(), "findings": []any{"a"}, "expired": []any{"a"},
		"databases": []any{database("Grype")}, "platforms": []any{map[string]any{"platform": "linux/amd64", "packages": 0}},
	}
	status["tests"] = map[string]any{"summary": "1/1", "platforms": []any{
		map[string]any{"platform": "linux/amd64", "outcome": "Passed", "passed": []any{"user"}, "failed": []any{"a"}},
	}}
	status["signature"] = completeSignature()
	status["codeScanning"] = map[string]any{"attempts": 0, "uploads": []any{map[string]any{"platform": "linux/amd64", "id": "a"}}}
	return status
}

func database(scanner string) any { return map[string]any{"scanner": scanner, "builtAt": someday} }

func resultRules(t *testing.T) map[string]rule {
	t.Helper()
	return merged(t, policyResultRules(), scanResultRules(), testResultRules(), uploadRules())
}

func policyResultRules() map[string]rule {
	rules := map[string]rule{}
	requires(rules, "status.dockerfilePolicy", "denied", "warned")
	notNegative(rules, "status.dockerfilePolicy", "denied", "warned", "excepted")
	sentences(rules, "status.dockerfilePolicy.findings", 20, 1024)
	sentences(rules, "status.dockerfilePolicy.expired", 32, 1024)
	return rules
}

func scanResultRules() map[string]rule {
	grype, trivy := database("Grype"), database("Trivy")
	rules := map[string]rule{
		"two databases were used":      {field: "status.scan.databases", keyword: "maxItems", good: []any{grype, trivy}, bad: []any{grype, trivy, grype}, also: "status.scan.databases[2]", says: "2"},
		"a scanner has one database":   {field: "status.scan.databases", keyword: "unique", blames: "status.scan.databases[1]", good: []any{trivy, grype}, bad: []any{trivy, trivy}, says: "Duplicate"},
		"a database is of a scanner":   {field: "status.scan.databases[0].scanner", keyword: "enum", good: "Trivy", bad: "Syft", says: "Grype"},
		"the age of a database is one": bounded("status.scan.databases[0].age", 32),
	}
	requires(rules, "status.scan", "packages")
	requires(rules, "status.scan.databases[0]", "scanner", "builtAt")
	countRules(rules, "status.scan.vulnerabilities")
	notNegative(rules, "status.scan", "packages", "refusing", "waived", "vex", "onlyGrype", "onlyTrivy")
	sentences(rules, "status.scan.findings", 20, 512)
	sentences(rules, "status.scan.expired", 20, 1024)
	reportRules(rules, "status.scan.platforms")
	return rules
}

func testResultRules() map[string]rule {
	const platform = "status.tests.platforms[0]"
	rules := map[string]rule{
		"the summary of tests is not empty": {field: "status.tests.summary", keyword: "minLength", good: "a", bad: "", says: "1"},
		"the summary of tests is short":     bounded("status.tests.summary", 64),
		"tests that ran have an outcome":    {field: platform + ".outcome", keyword: "enum", good: "Failed", bad: "", says: "Skipped"},
		"tests that did not are skipped":    {field: platform + ".outcome", keyword: "enum", good: "Skipped", bad: "Ignored", says: "Skipped"},
		"the digest of tests has no more":   {field: platform + ".report", keyword: "maxLength", good: digest, bad: digest + "a", says: "71"},
	}
	requires(rules, "status.tests", "summary")
	requires(rules, platform, "platform", "outcome")
	sentences(rules, platform+".passed", 32, 64)
	sentences(rules, platform+".failed", 32, 512)
	platformResults(rules, "status.tests.platforms", map[string]any{"outcome": "Passed"})
	return rules
}

func uploadRules() map[string]rule {
	const upload = "status.codeScanning.uploads[0]"
	rules := map[string]rule{
		"the id of an upload is not empty": {field: upload + ".id", keyword: "minLength", good: "a", bad: "", says: "1"},
		"the id of an upload is short":     bounded(upload+".id", 128),
	}
	requires(rules, "status.codeScanning", "attempts")
	requires(rules, upload, "platform", "id")
	notNegative(rules, "status.codeScanning", "attempts")
	platformResults(rules, "status.codeScanning.uploads", map[string]any{"id": "a"})
	return rules
}

// countRules adds those of vulnerabilities by severity: all are there, so that none is taken for 0.
func countRules(rules map[string]rule, parent string) {
	requires(rules, parent, severities...)
	notNegative(rules, parent, severities...)
}

func notNegative(rules map[string]rule, parent string, names ...string) {
	for _, name := range names {
		rules[parent+" has no negative "+name] = rule{field: parent + "." + name, keyword: "minimum", good: 0, bad: -1, says: "0"}
	}
}

// sentences adds the bounds of a list of texts for people.
func sentences(rules map[string]rule, list string, most, longest int) {
	sentence := func(i int) any { return strconv.Itoa(i) }
	rules[list+" are few"] = rule{field: list, keyword: "maxItems", good: items(most, sentence), bad: items(most+1, sentence), says: strconv.Itoa(most)}
	rules[list+" are short"] = bounded(list+"[0]", longest)
}

// platformResults adds the rules of a list of results by platform; others are the other fields of one that is valid.
func platformResults(rules map[string]rule, list string, others map[string]any) {
	of := func(platform string) any {
		out := map[string]any{"platform": platform}
		maps.Copy(out, others)
		return out
	}
	rules[list+" are two at most"] = rule{field: list, keyword: "maxItems", good: []any{of("a"), of("b")}, bad: []any{of("a"), of("b"), of("c")}, says: "2"}
	rules[list+" are different"] = rule{field: list, keyword: "unique", blames: list + "[1]", good: []any{of("a"), of("b")}, bad: []any{of("a"), of("a")}, says: "Duplicate"}
	rules[list+" have a platform"] = rule{field: list + "[0].platform", keyword: "minLength", good: "a", bad: "", says: "1"}
	rules[list+" have a short platform"] = bounded(list+"[0].platform", 64)
}
