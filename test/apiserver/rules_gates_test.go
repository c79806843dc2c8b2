//go:build apiserver

package apiserver

import (
	"strconv"
	"strings"
	"testing"
)

const (
	someday = "2030-01-31T12:00:00Z"
	// githubPath is a part of a spec that only a git source may have.
	githubPath = "spec.scan.github"
)

// completeGates are the parts of a spec by which a build is judged, but for what needs a git source.
func completeGates(spec map[string]any) map[string]any {
	spec["dockerfilePolicy"] = map[string]any{"extraRules": named("rules"), "exceptions": []any{exception(0)}}
	spec["scan"] = map[string]any{"grype": map[string]any{}, "trivy": map[string]any{}, "vexRef": named("vex"), "waivers": []any{waiver(0)}}
	spec["tests"] = map[string]any{"requiredLabels": []any{"team"}, "command": []any{"/app"}}
	return spec
}

func named(name string) map[string]any { return map[string]any{"name": name} }

func exception(i int) any {
	return map[string]any{"rule": "deny_" + strconv.Itoa(i), "reason": "a tarball", "expires": someday}
}

func waiver(i int) any {
	return map[string]any{"id": "CVE-2022-" + strconv.Itoa(i), "reason": "not reachable", "expires": someday}
}

func codeScanning() map[string]any {
	return map[string]any{"repository": "owner/name", "tokenSecretRef": named("github")}
}

// gateRules are those of dockerfilePolicy, scan and tests, which a BaseImage and a BaseImageBuild have both.
func gateRules(t *testing.T) map[string]rule {
	t.Helper()
	return merged(t, dockerfilePolicyRules(), scanRules(), codeScanningRules(), imageRules())
}

func dockerfilePolicyRules() map[string]rule {
	const name = "spec.dockerfilePolicy.exceptions[0].rule"
	rules := map[string]rule{
		"findings refuse from a severity":    {field: "spec.dockerfilePolicy.failOn", keyword: "enum", good: "Warn", bad: "warn", says: "Deny"},
		"at least what is denied refuses":    {field: "spec.dockerfilePolicy.failOn", keyword: "enum", good: "Deny", bad: "Never", says: "Warn"},
		"there are at most 32 exceptions":    {field: "spec.dockerfilePolicy.exceptions", keyword: "maxItems", good: items(32, exception), bad: items(33, exception), says: "32"},
		"a rule has one exception":           {field: "spec.dockerfilePolicy.exceptions", keyword: "unique", blames: "spec.dockerfilePolicy.exceptions[1]", good: items(2, exception), bad: []any{exception(0), exception(0)}, says: "Duplicate"},
		"a rule's name is not empty":         {field: name, keyword: "minLength", good: "_", bad: "", says: "1"},
		"a rule's name is short":             bounded(name, 257),
		"a rule's name may have a package":   {field: name, keyword: "pattern", good: "Team.images.deny_curl", bad: "team/deny_curl", says: "should match"},
		"a rule's name is not all of them":   {field: name, keyword: "pattern", good: "deny_add", bad: "*", says: "should match"},
		"a rule's name has no empty part":    {field: name, keyword: "pattern", good: "a.b", bad: "a..b", says: "should match"},
		"a rule's name does not end early":   {field: name, keyword: "pattern", good: "_a._b", bad: "deny_add.", says: "should match"},
		"a rule's name starts with no digit": {field: name, keyword: "pattern", good: "a.b0", bad: "a.0b", says: "should match"},
	}
	accepts(rules, "spec.dockerfilePolicy.exceptions[0]", "rule")
	reference(rules, "spec.dockerfilePolicy.extraRules")
	return rules
}

func scanRules() map[string]rule {
	const first = "spec.scan.waivers[0]"
	rules := map[string]rule{
		"there are at most 128 waivers":        {field: "spec.scan.waivers", keyword: "maxItems", good: items(128, waiver), bad: items(129, waiver), says: "128"},
		"an id may be waived for two packages": {field: "spec.scan.waivers", keyword: "maxItems", good: []any{waiver(0), waiver(0)}, bad: items(130, waiver), says: "128"},
		"an id is not empty":                   {field: first + ".id", keyword: "minLength", good: "A", bad: "", says: "1"},
		"an id is short":                       bounded(first+".id", 64),
		"an id is one of a CVE":                {field: first + ".id", keyword: "pattern", good: "CVE-2022-48174", bad: "CVE-2022-*", says: "should match"},
		"an id is one of any advisory":         {field: first + ".id", keyword: "pattern", good: "openSUSE-SU-2022:0001_1.2", bad: "-1", says: "should match"},
		"an id has no spaces":                  {field: first + ".id", keyword: "pattern", good: "GHSA-vh95-rmgr-6w4m", bad: "CVE-1 CVE-2", says: "should match"},
		"a waived package is not empty":        {field: first + ".package", keyword: "minLength", good: "a", bad: "", says: "1"},
		"a waived package is short":            bounded(first+".package", 256),
	}
	for _, scanner := range []string{"grype", "trivy"} {
		field := "spec.scan." + scanner + ".failOn"
		for _, threshold := range []string{"Critical", "High", "Medium", "Low", "Negligible", "Never"} {
			rules[scanner+" refuses from "+threshold] = rule{field: field, keyword: "enum", good: threshold, bad: threshold + "est", says: "Negligible"}
		}
		rules[scanner+" refuses nothing unknown"] = rule{field: field, keyword: "enum", good: "High", bad: "Unknown", says: "Negligible"}
	}
	accepts(rules, first, "id")
	reference(rules, "spec.scan.vexRef")
	return rules
}

// accepts adds the rules of something that lets pass what has a name: nothing is accepted without a reason, or for ever.
func accepts(rules map[string]rule, parent, name string) {
	requires(rules, parent, name, "reason", "expires")
	rules[parent+" has words for a reason"] = rule{field: parent + ".reason", keyword: "minLength", good: "a", bad: "", says: "1"}
	rules[parent+" has a short reason"] = bounded(parent+".reason", 512)
	for desc, bad := range map[string]any{"a day without a time": "2030-01-31", "a word": "never", "no time zone": "2030-01-31T12:00:00", "nothing": "", "null": nil} {
		r := rule{field: parent + ".expires", where: indexed.ReplaceAllString(parent, "[]"), keyword: "required expires",
			good: "2030-01-31T12:00:00+06:00", bad: bad, says: "date-time"}
		if bad == nil {
			r.says = "Required"
		}
		rules[parent+" does not expire at "+desc] = r
	}
}

// reference adds the rules of the name of an object of the same namespace.
func reference(rules map[string]rule, field string) {
	requires(rules, field, "name")
	rules[field+" is not empty"] = rule{field: field + ".name", keyword: "minLength", good: "a", bad: "", says: "1"}
	rules[field+" is short"] = bounded(field+".name", 253)
	rules[field+" is of the same namespace"] = rule{field: field + ".name", keyword: "pattern", good: "a-b.c", bad: "other/name", says: "should match"}
}

func codeScanningRules() map[string]rule {
	const repository, ref = githubPath + ".repository", githubPath + ".ref"
	rules := map[string]rule{
		"a repository is given":                      {field: repository, where: githubPath, keyword: "required repository", good: "owner/name", bad: absent, says: "Required"},
		"a token is given":                           {field: githubPath + ".tokenSecretRef", where: githubPath, keyword: "required tokenSecretRef", good: named("github"), bad: absent, says: "Required"},
		"a repository has an owner and a name":       {field: repository, keyword: "minLength", good: "a/b", bad: "a/", says: "3"},
		"a repository of GitHub is short":            {field: repository, keyword: "maxLength", good: text(39) + "/" + text(100), bad: text(40) + "/" + text(100), says: "140"},
		"a repository of GitHub has an owner":        {field: repository, keyword: "pattern", good: "Octo-Org_emu/.github", bad: "/name", says: "should match"},
		"a repository of GitHub has no host":         {field: repository, keyword: "pattern", good: "a/b.c_d-e", bad: "github.com/a/b", says: "should match"},
		"a repository of GitHub has no more":         {field: repository, keyword: "pattern", good: "a/..b", bad: "a/b?x=y", says: "should match"},
		"a repository of GitHub is no way elsewhere": {field: repository, keyword: "pattern", good: "a/b..", bad: "a/..", says: "should match"},
		"a repository of GitHub is not a dot":        {field: repository, keyword: "pattern", good: "a/.b", bad: "aa/.", says: "should match"},
		"a ref of GitHub is short":                   {field: ref, keyword: "maxLength", good: "refs/heads/" + text(244), bad: "refs/heads/" + text(245), says: "255"},
		"a ref of GitHub may be a branch":            {field: ref, keyword: "pattern", good: "refs/heads/fix/a_b+c@d#1.2-3", bad: "main", says: "should match"},
		"a ref of GitHub may be a tag":               {field: ref, keyword: "pattern", good: "refs/tags/v1", bad: "refs/notes/v1", says: "should match"},
		"a ref of GitHub may be a pull request":      {field: ref, keyword: "pattern", good: "refs/pull/1/merge", bad: "refs/pull/", says: "should match"},
		"a ref of GitHub is of one line":             {field: ref, keyword: "pattern", good: "refs/heads/a", bad: "refs/heads/a\nb", says: "should match"},
	}
	reference(rules, githubPath+".tokenSecretRef")
	return rules
}

// imageRules are those of spec.tests.
func imageRules() map[string]rule {
	label := func(i int) any { return "label" + strconv.Itoa(i) }
	argument := func(int) any { return "-x" }
	rules := map[string]rule{
		"a user is not root":                  {field: "spec.tests.user", keyword: "minimum", good: 1, bad: 0, says: "1"},
		"a user has 31 bits":                  {field: "spec.tests.user", keyword: "maximum", good: 2147483647, bad: 2147483648, says: "2147483647"},
		"a label is required at least":        {field: "spec.tests.requiredLabels", keyword: "minItems", good: items(1, label), bad: []any{}, says: "at least 1"},
		"at most 32 labels are":               {field: "spec.tests.requiredLabels", keyword: "maxItems", good: items(32, label), bad: items(33, label), says: "32"},
		"labels are different":                {field: "spec.tests.requiredLabels", keyword: "unique", blames: "spec.tests.requiredLabels[1]", good: items(2, label), bad: []any{"a", "a"}, says: "Duplicate"},
		"a label has a name":                  {field: "spec.tests.requiredLabels[0]", keyword: "minLength", good: "a", bad: "", says: "1"},
		"a label's name is short":             bounded("spec.tests.requiredLabels[0]", 128),
		"a command is short":                  {field: "spec.tests.command", keyword: "maxItems", good: items(32, argument), bad: items(33, argument), says: "32"},
		"an argument is not empty":            {field: "spec.tests.command[0]", keyword: "minLength", good: "a", bad: "", says: "1"},
		"an argument is short":                bounded("spec.tests.command[0]", 1024),
		"a size is a quantity":                {field: "spec.tests.maxSize", keyword: "pattern", good: "50Mi", bad: "50 MB", says: "should match"},
		"a size is not negative but in bytes": {field: "spec.tests.maxSize", keyword: "rule 0", good: 52428800, bad: -1, says: "between 1Ki and 1Ti"},
		"a size is not nothing":               {field: "spec.tests.maxSize", keyword: "rule 0", good: "1Ki", bad: 0, says: "between 1Ki and 1Ti"},
		"a size is not a part of a byte":      {field: "spec.tests.maxSize", keyword: "rule 0", good: "0.5Gi", bad: "50m", says: "between 1Ki and 1Ti"},
		"a size is a Ki":                      {field: "spec.tests.maxSize", keyword: "rule 0", good: 1024, bad: "1023", says: "between 1Ki and 1Ti"},
		"a size is a Ti at most":              {field: "spec.tests.maxSize", keyword: "rule 0", good: "1Ti", bad: "1025Gi", says: "between 1Ki and 1Ti"},
		"a size is not beyond all numbers":    {field: "spec.tests.maxSize", keyword: "rule 0", good: "1e12", bad: "99999999999999999999E", says: "between 1Ki and 1Ti"},
		"a size is written shortly":           {field: "spec.tests.maxSize", keyword: "rule 0", good: "1024." + strings.Repeat("0", 27), bad: "1024." + strings.Repeat("0", 28), says: "between 1Ki and 1Ti"},
	}
	for _, name := range []string{"shells", "packageManagers", "setuidFiles"} {
		field := "spec.tests." + name
		rules[name+" may be allowed"] = rule{field: field, keyword: "enum", good: "Allow", bad: "allow", says: "Forbid"}
		rules[name+" may be forbidden"] = rule{field: field, keyword: "enum", good: "Forbid", bad: "Ignore", says: "Allow"}
	}
	return rules
}
