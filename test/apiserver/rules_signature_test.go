//go:build apiserver

package apiserver

// completeSignature is one that is valid.
func completeSignature() map[string]any {
	return map[string]any{
		"identity": "a", "issuer": "a", "signedAt": someday, "formats": []any{"Bundle"}, "verifyCommand": "a", "attestationCommand": "a",
		"attestations": []any{attestation("a")},
	}
}

func attestation(kind string) any {
	return map[string]any{"subject": "index", "predicateType": kind, "digest": digest}
}

// signatureRules are those of a signature below parent.
func signatureRules(rules map[string]rule, parent string) {
	signature := parent + ".signature"
	attested := signature + ".attestations[0]"
	attestations := func(n int) []any { return items(n, func(int) any { return attestation("a") }) }
	rules["there is a format of signatures"] = rule{field: signature + ".formats", keyword: "minItems", good: []any{"Legacy"}, bad: []any{}, says: "at least 1"}
	rules["there are two formats of signatures"] = rule{field: signature + ".formats", keyword: "maxItems", good: []any{"Legacy", "Bundle"}, bad: []any{"Legacy", "Bundle", "Legacy"}, also: signature + ".formats[2]", says: "2"}
	rules["formats of signatures are different"] = rule{field: signature + ".formats", keyword: "unique", blames: signature + ".formats[1]", good: []any{"Legacy", "Bundle"}, bad: []any{"Legacy", "Legacy"}, says: "Duplicate"}
	rules["a format of signatures is a known one"] = rule{field: signature + ".formats[0]", keyword: "enum", good: "Legacy", bad: "Notation", says: "Bundle"}
	rules["there are at most 32 attestations"] = rule{field: signature + ".attestations", keyword: "maxItems", good: attestations(32), bad: attestations(33), says: "32"}
	rules["the digest of a statement is not cut"] = rule{field: attested + ".digest", keyword: "minLength", good: digest, bad: digest[:70], says: "71"}
	rules["the digest of a statement has no more"] = rule{field: attested + ".digest", keyword: "maxLength", good: digest, bad: digest + "a", says: "71"}
	for field, limit := range map[string]int{
		signature + ".identity": 512, signature + ".issuer": 512, signature + ".verifyCommand": 2048, signature + ".attestationCommand": 2048,
		attested + ".subject": 64, attested + ".predicateType": 255,
	} {
		rules[field+" is not empty"] = rule{field: field, keyword: "minLength", good: "a", bad: "", says: "1"}
		rules[field+" is short"] = bounded(field, limit)
	}
	requires(rules, signature, "identity", "issuer", "signedAt", "formats", "verifyCommand", "attestationCommand")
	requires(rules, attested, "subject", "predicateType", "digest")
	notNegative(rules, signature, "logIndex")
	notNegative(rules, attested, "logIndex")
}

// reportRules are those of the reports on platforms in a list.
func reportRules(rules map[string]rule, list string) {
	platform := list + "[0]"
	requires(rules, platform, "platform", "packages")
	notNegative(rules, platform, "packages")
	platformResults(rules, list, map[string]any{"packages": 0})
	for _, name := range []string{"spdx", "cyclonedx", "grype", "trivy", "sarif"} {
		rules["the digest of "+name+" has no more"] = rule{field: platform + "." + name, keyword: "maxLength", good: digest, bad: digest + "a", says: "71"}
	}
}
