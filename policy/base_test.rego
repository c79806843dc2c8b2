# Run with: conftest verify -p policy. The corpus of test/policy has a whole Dockerfile for each case; here are the
# functions that the rules are made of.
package main

dockerfile(text) := instructions if some instructions in parse_config("dockerfile", text)

good := concat("\n", [
	"FROM example.com/base:1",
	`LABEL org.opencontainers.image.title=x org.opencontainers.image.description="x y" org.opencontainers.image.source=x`,
	"USER 65532:65532",
])

rules_of(findings) := {f.rule | some f in findings}

all_findings := (((((deny_user_required | deny_user_root) | deny_labels_required) | deny_add) | warn_from_latest) | warn_apt_get_cleanup) | warn_apk_no_cache

test_nothing_to_find if {
	count(all_findings) == 0 with input as dockerfile(good)
}

test_nothing_at_all_is_refused if {
	count(deny_user_required) == 1 with input as []
	count(deny_user_required) == 1 with input as {"a": "b"}
}

test_a_finding_says_what_where_and_how if {
	findings := deny_add with input as dockerfile(sprintf("%s\nADD a b", [good]))
	some f in findings
	count(findings) == 1
	f.rule == "deny_add"
	f.index == 3
	startswith(f.msg, "ADD a b: ")
	contains(f.msg, f.fix)
}

test_long_instructions_are_shortened if {
	some f in deny_add with input as dockerfile(sprintf("%s\nADD a%s b", [good, concat("", ["x" | some _ in numbers.range(1, 200)])]))
	contains(f.msg, "...: ADD")
}

test_users_that_are_root if {
	every user in ["0", "00", "0:0", "0:1000", "+0", "-0", "root", "ROOT", "root:root", "root:0", " 0 ", "0:"] {
		contains(user_value_problem(user), "is root")
	}
}

test_users_that_are_not_numbers if {
	every user in ["nonroot", "1e3", "0x0", "65532:", "65532 :0", "65532:65532:0", "4294967296", "2147483648", "99999999999999999999", "\u0660", "1\n"] {
		contains(user_value_problem(user), "is not a number")
	}
}

test_users_that_pass if {
	every user in ["1", "65532", "65532:65532", "65532:0", "65532:nonroot", "0065532", "2147483647"] {
		not user_value_problem(user)
	}
}

test_users_that_are_empty if {
	contains(user_value_problem(""), "nothing")
}

test_expansion if {
	env := {"A": "a", "E": "", "D": "$A", "B": "{"}
	every word, want in {
		"$A": "a", "${A}": "a", "x$A-y": "xa-y", "$AB": "", "${A}B": "aB",
		`\$A`: "$A", `'$A'`: "$A", `"$A"`: "a", `"\$A"`: "$A", `a"b"'c'`: "abc", `\'`: "'",
		"${N:-b}": "b", "${N-b}": "b", "${E:-b}": "b", "${E-b}": "", "${A:-b}": "a",
		"${N:+b}": "", "${N+b}": "", "${E:+b}": "", "${E+b}": "b", "${A:+b}": "b", "${A+b}": "b",
		"${A:?b}": "a", "${A?b}": "a", "${E?b}": "",
		"${N:-${M:-$A}}": "a", "${N:-'b c'}": "b c", "$D": "$A", "${D}": "$A", "$B$A}": "{a}", "$": "$", "a$": "a$", "$$": "",
		"": "", "${N:-}": "",
	} {
		expand(word, env) == want
	}
}

test_expansion_of_what_is_not_known_is_nothing if {
	every word in ["${A#a}", "${A%%a}", "${A/a/b}", "${N:?b}", "${N?b}", "${E:?b}", "${A", "${}", "${:x}", "${N:-${M:-${O:-${P:-${Q:-a}}}}}"] {
		not expand(word, {"A": "a", "E": ""})
	}
}

test_images_that_move if {
	every image in ["a", "a:latest", "a/b", "h:5000/a", "h:5000/a:latest", "a:", "", "a@sha256:abc", "a:$V"] {
		unpinned(image)
	}
}

test_images_that_do_not_move if {
	every image in ["a:1", "h:5000/a:1", "a:latest-1", "a@sha256:0123456789012345678901234567890123456789012345678901234567890123"] {
		not unpinned(image)
	}
}

test_depth_of_variables if {
	every m in [0, 1, 15] {
		count(deny_user_root) == 0 with input as dockerfile(chained(m))
	}
	count(deny_user_root) == 1 with input as dockerfile(chained(40))
}

chained(n) := sprintf("%s\nENV A0=65532\n%s\nUSER $A%d", [good, concat("\n", [sprintf("ENV A%d=$A%d", [i + 1, i]) | some i in numbers.range(0, n)]), n])

test_only_the_last_user_counts if {
	count(deny_user_root) == 0 with input as dockerfile(sprintf("FROM a:1\nUSER root\n%s", [replace(good, "FROM example.com/base:1", "")]))
	count(deny_user_root) == 1 with input as dockerfile(sprintf("%s\nUSER root", [good]))
}

test_build_arguments_and_target if {
	two := sprintf("FROM a:1 AS debug\nUSER 0\n%s\nARG UID=1\nUSER $UID", [good])
	count(all_findings) == 0 with input as dockerfile(two)
	rules_of(all_findings) == {"deny_user_root"} with input as dockerfile(two) with data.basewright as {"build_args": {"UID": "0"}}
	rules_of(all_findings) == {"deny_user_root", "deny_labels_required"} with input as dockerfile(two) with data.basewright as {"target": "DEBUG"}
	rules_of(all_findings) == {"deny_user_root", "deny_labels_required"} with input as dockerfile(two) with data.basewright as {"target": 0}
	rules_of(all_findings) == {"deny_user_required"} with input as dockerfile(two) with data.basewright as {"target": "other"}
	count(all_findings) == 0 with input as dockerfile(two) with data.basewright as {"target": ""}
}

apt(text) if count(warn_apt_get_cleanup) == 1 with input as dockerfile(sprintf("FROM a:1\nRUN %s", [text]))

test_apt_that_leaves_its_lists if {
	every text in [
		"apt-get install x", "apt install x", "/usr/bin/apt-get -qq install x", "sudo apt-get install x", "eval apt-get install x",
		"apt-get install x; apt-get clean", "apt-get install x | rm -rf /var/lib/apt/lists/*", "apt-get install x && rm /var/lib/apt/lists",
		"apt-get install x && rm -rf /var/lib/apt/lists-of-others", "true && (apt-get install x)", "if true; then apt-get install x; fi",
		"echo apt-get install x | sh", "echo 'apt-get install x' > /x", "printf 'apt-get install x' | sh",
	] {
		apt(text)
	}
}

test_apt_that_does_not if {
	every text in [
		"true", "apt-get update", "apt-get remove x", "pip install apt", "install -d /etc/apt/keyrings", "ls /etc/apt install", "echo apt-get install x",
		"apt-get install x && rm -rf /var/lib/apt/lists/*", "apt-get install x; rm -r -f /var/lib/apt/lists", "apt-get install x && rm -fr /var/lib/apt/",
		"apt-get install x 2>&1 && sudo rm -rf /tmp/* /var/lib/apt/lists/*", "apt-get install x && rm -rf /var/lib/{apt,dpkg,cache}/",
		"{ apt-get install x; rm -rf /var/lib/apt/lists/*; }", "if true; then apt-get install x; fi; rm -rf /var/lib/apt/lists/*",
		"apt-get install x && apt-get distclean", "(apt-get install x && rm -rf /var/lib/apt/lists/*)",
	] {
		not apt(text)
	}
}

apk(text) if count(warn_apk_no_cache) == 1 with input as dockerfile(sprintf("FROM a:1\nRUN %s", [text]))

test_apk_that_leaves_its_index if {
	every text in ["apk add x", "apk --update add x", "/sbin/apk add x", "apk add x && echo --no-cache", "apk add x; apk add --no-cache y", "apk add --no-cached x"] {
		apk(text)
	}
}

test_apk_that_does_not if {
	every text in ["apk add --no-cache x", "apk --no-cache add x", "apk update", "apk del x", "apk add x && rm -rf /var/cache/apk/*", "apk add \"--no-cache\" x"] {
		not apk(text)
	}
}
