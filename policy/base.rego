# Seven rules for Dockerfiles, judged on the image that comes out: the stage that is built and the stages below it.
# docs/dockerfile-policy.md explains each of them.
#
# The input is what conftest makes of a Dockerfile: a list of instructions with Cmd, SubCmd, Flags, Value, JSON and
# Stage, without line numbers and without the bodies of here-documents. A finding says which instruction it is about:
# index counts from 0 in that list.
#
# Two things may come with it, and need not: data.basewright.build_args, an object of build arguments that override the
# defaults of ARGs, and data.basewright.target, the name or the number of the stage that is built, by default the last.
package main

# --- Rules ---

deny_user_required contains finding("deny_user_required", froms[final], why, fix) if {
	count(users) == 0
	why := "nothing sets the user of the image, which may be root"
	fix := "end the stage with USER 65532:65532"
}

# Nothing can be said about a stage that is not there, and that must not look as if all were well.
deny_user_required contains finding("deny_user_required", -1, "there is no stage with the name or number that is to be built", fix) if {
	not final
	fix := "build one of the stages of the file"
}

deny_user_root contains finding("deny_user_root", program[last_user].index, why, numeric_user) if {
	why := [w | some builder in builders; w := user_problem(builder, last_user)][0]
}

# A trigger of the final stage does nothing to this image, but it makes those that are based on it run as root.
deny_user_root contains finding("deny_user_root", trigger.index, why, numeric_user) if {
	some trigger in triggers(final)
	trigger.cmd == "user"
	why := literal_user_problem(trigger.value[0])
}

deny_labels_required contains finding("deny_labels_required", froms[final], why, fix) if {
	some name in required_labels
	count([1 | some label in labels; label.name == name]) == 0
	why := sprintf("the label %s is missing", [name])
	fix := sprintf("add LABEL %s=\"...\" to the stage", [name])
}

deny_labels_required contains finding("deny_labels_required", last.index, why, fix) if {
	some name in required_labels
	same := [label | some label in labels; label.name == name]
	last := same[count(same) - 1]
	some builder in builders
	trim_space(last.values[builder]) == ""
	why := sprintf("the label %s has no value that can be told from the Dockerfile", [name])
	fix := sprintf("write LABEL %s=\"...\" with text in it", [name])
}

# In every stage: what a builder stage unpacks ends up in the image too.
deny_add contains finding("deny_add", i, why, fix) if {
	some i, instruction in input
	command(instruction) == "add"
	why := "ADD downloads from URLs and unpacks archives without a look at what they are"
	fix := "use COPY for files, and RUN with a checked download for the rest"
}

warn_from_latest contains finding("warn_from_latest", use.index, why, fix) if {
	some use in images
	why := unpinned(use.image)
	fix := "name a version, or a digest with @sha256:"
}

warn_apt_get_cleanup contains finding("warn_apt_get_cleanup", run.index, why, fix) if {
	some run in runs
	why := apt_problem(run)
	fix := "write one RUN of commands with && that ends in: rm -rf /var/lib/apt/lists/*"
}

warn_apk_no_cache contains finding("warn_apk_no_cache", run.index, why, fix) if {
	some run in runs
	why := apk_problem(run)
	fix := "write commands with && and: apk add --no-cache"
}

# --- Findings ---

finding(rule, index, why, fix) := {
	"msg": sprintf("%s: %s; %s.", [quoted(index), why, fix]),
	"rule": rule,
	"index": index,
	"fix": fix,
}

# quoted is the instruction as it is written, shortened.
quoted(index) := shortened(concat(" ", array.concat(
	[part | some part in [upper(input[index].Cmd), upper(input[index].SubCmd)]; part != ""],
	array.concat(words(input[index].Flags), written(input[index])),
)))

quoted(index) := "The Dockerfile" if not input[index]

written(instruction) := [part |
	some i, word in words(instruction.Value)
	i % 3 == 0
	part := sprintf("%s=%s", [word, instruction.Value[i + 1]])
] if instruction.Cmd in {"label", "env"}

written(instruction) := words(instruction.Value) if not instruction.Cmd in {"label", "env"}

shortened(text) := text if count(text) <= 100

shortened(text) := sprintf("%s...", [substring(text, 0, 97)]) if count(text) > 100

words(list) := list if is_array(list)

words(list) := [] if not is_array(list)

# --- Stages ---

# command is what an instruction does, now or as a trigger.
command(instruction) := lower(instruction.SubCmd) if instruction.Cmd == "onbuild"

command(instruction) := instruction.Cmd if instruction.Cmd != "onbuild"

build_args[name] := sprintf("%v", [value]) if some name, value in data.basewright.build_args

froms := [i | some i, instruction in input; instruction.Cmd == "from"]

stage_name[stage] := lower(input[i].Value[2]) if some stage, i in froms

# base is the image or the stage that a stage starts from, with ARGs expanded; undefined if nobody can tell.
base[stage] := ref if {
	some stage, i in froms
	ref := expand(input[i].Value[0], global_env(input[i].Value[0]))
	plain(input[i].Value[0])
}

# parent is the number of the stage that a stage starts from, if it is one: only stages before it have names there.
parent[stage] := max(before) if {
	some stage, ref in base
	before := {s | some s, name in stage_name; name == lower(ref); s < stage}
	count(before) > 0
}

# final is the number of the stage that is built.
final := count(froms) - 1 if {
	not targeted
	count(froms) > 0
}

final := max(targets) if {
	targeted
	count(targets) > 0
}

# wanted is the name or the number of the stage that is built, as text.
wanted := lower(sprintf("%v", [data.basewright.target]))

targeted if {
	text := wanted
	not text in {"", "null"}
}

named_targets := {s | some s, name in stage_name; name == wanted}

targets := named_targets if count(named_targets) > 0

targets := {s | some s, _ in froms; format_int(s, 10) == wanted} if count(named_targets) == 0

# chain is the stages that the image is made of, from the first: stages are based on stages before them.
chain := sort([s | some s in graph.reachable({s: [p | p := parent[s]] | some s, _ in froms}, {final})])

# program is the instructions that make the image, in the order in which they run. The triggers of a stage run when
# another is based on it, and only there.
program := [op | some stage in chain; some op in array.concat(inherited(stage), own(stage))]

default program := []

own(stage) := [op |
	some i, instruction in input
	instruction.Stage == stage
	i > froms[0]
	not instruction.Cmd in {"comment", "from", "onbuild"}
	op := operation(i, stage)
]

inherited(stage) := [object.union(op, {"stage": stage}) | some op in triggers(parent[stage])]

inherited(stage) := [] if not parent[stage] in chain

triggers(stage) := [operation(i, stage) |
	some i, instruction in input
	instruction.Stage == stage
	instruction.Cmd == "onbuild"
]

operation(i, stage) := {
	"index": i, "stage": stage, "cmd": command(input[i]),
	"flags": words(input[i].Flags), "value": words(input[i].Value), "json": input[i].JSON,
}

# --- Variables ---

# BuildKit and Kaniko differ in two things, and an image must be right with both. In BuildKit the later of ENV and ARG
# wins, and a stage inherits the ARGs of the stage that it is based on. In Kaniko, and in Docker's documentation, ENV
# wins, and a stage has only the ARGs that it declares.
builders := ["kaniko", "buildkit"]

# plain text means the same whatever the escape character of the Dockerfile is, which is not in the input.
plain(text) if not regex.match("[\\\\`]", text)

variable := `[\p{L}_][\p{L}\p{Nd}_]*`

names_in(text) := {m[1] | some m in regex.find_all_string_submatch_n(sprintf(`\$\{?(%s)`, [variable]), text, -1)}

# A definition gives a value to a name: a fixed one, or a word in which variables are expanded.

automatic := {
	"TARGETPLATFORM": "linux/amd64", "TARGETOS": "linux", "TARGETARCH": "amd64", "TARGETVARIANT": "",
	"BUILDPLATFORM": "linux/amd64", "BUILDOS": "linux", "BUILDARCH": "amd64", "BUILDVARIANT": "",
}

arg_name(word) := trim(split(word, "=")[0], `"'`)

arg_word(word) := substring(word, indexof(word, "=") + 1, -1) if contains(word, "=")

global_definitions := array.concat(
	[{"name": name, "fixed": object.get(build_args, name, value)} | some name, value in automatic],
	[definition |
		some i, instruction in input
		instruction.Cmd == "arg"
		i < froms[0]
		some word in instruction.Value
		some definition in arg_definition(word, {})
	],
)

# arg_definition is a list of one, or of none: an ARG without a value defines nothing.
arg_definition(word, _) := [{"name": arg_name(word), "fixed": build_args[arg_name(word)]}]

arg_definition(word, _) := [{"name": arg_name(word), "word": arg_word(word)}] if not build_args[arg_name(word)]

arg_definition(word, outer) := [{"name": arg_name(word), "fixed": v} | v := outer[arg_name(word)]] if {
	not build_args[arg_name(word)]
	not contains(word, "=")
}

global_numbers[definition.name] contains i if some i, definition in global_definitions

global_uses := [uses |
	some i, definition in global_definitions
	uses := {name: max(before) |
		some name in names_in(object.get(definition, "word", ""))
		before := {j | some j in global_numbers[name]; j < i}
		count(before) > 0
	}
]

global_values := settled(global_definitions, global_uses)

# globals has the last value of each ARG before the first FROM, if it can be told.
globals[name] := global_values[max(numbers)] if some name, numbers in global_numbers

# global_env is what FROM sees of the variables that a word uses; undefined if one of them can't be told.
global_env(word) := {name: globals[name] | some name in names_in(word)} if {
	every name in names_in(word) {
		settled_or_unset(name)
	}
}

settled_or_unset(name) if globals[name]

settled_or_unset(name) if not global_numbers[name]

# definitions are those of the program: at orders them. ARGs of one instruction see each other, ENVs don't.
definitions := [definition |
	some p, op in program
	some new in defined(op)
	definition := object.union(new, {"at": (p * 1000) + new.nth, "stage": op.stage, "kind": op.cmd})
]

defined(op) := [object.union(definition, {"nth": min([k, 999])}) |
	some k, word in op.value
	some definition in arg_definition(word, globals)
] if op.cmd == "arg"

defined(op) := [{"name": trim(name, `"'`), "word": op.value[k + 1], "nth": 0} |
	some k, name in op.value
	k % 3 == 0
] if op.cmd == "env"

defined(op) := [] if not op.cmd in {"arg", "env"}

# A name that is itself expanded may be any: nothing that uses a variable can be told then.
computed_names if {
	some definition in definitions
	regex.match("[$\\\\`]", definition.name)
}

defined_at[definition.name] contains i if some i, definition in definitions

# visible is the number of the definition that gives a name its value at a place.
visible("buildkit", name, at, _) := max({i | some i in defined_at[name]; definitions[i].at < at})

visible("kaniko", name, at, stage) := max({i | some i in defined_at[name]; definitions[i].at < at; definitions[i].kind == "env"}) if {
	some i in defined_at[name]
	definitions[i].at < at
	definitions[i].kind == "env"
} else := max({i |
	some i in defined_at[name]
	definitions[i].at < at
	definitions[i].stage == stage
})

uses(builder, text, at, stage) := {name: i |
	some name in names_in(text)
	i := visible(builder, name, at, stage)
}

values[builder] := settled(definitions, all_uses) if {
	some builder in builders
	all_uses := [uses(builder, object.get(d, "word", ""), d.at, d.stage) | some d in definitions]
}

# settled has the values of definitions by their number. Each pass settles those that use only settled ones; what uses
# others more than 16 deep has no value, and what needs it is refused.
settled(all, all_uses) := settled_4(all, all_uses, settled_4(all, all_uses, settled_4(all, all_uses, settled_4(all, all_uses, {}))))

settled_4(all, all_uses, known) := more(all, all_uses, more(all, all_uses, more(all, all_uses, more(all, all_uses, known))))

more(all, all_uses, known) := object.union(known, {i: value |
	some i, definition in all
	not known[i]
	value := value_of(definition, all_uses[i], known)
})

value_of(definition, _, _) := definition.fixed

value_of(definition, its_uses, known) := expand(definition.word, env) if {
	plain(definition.word)
	env := {name: known[i] | some name, i in its_uses}
	count(env) == count(its_uses)
}

# env is what an instruction of the program sees of the variables that a text uses; undefined if one can't be told.
env(builder, text, p) := found if {
	not hidden_names(text)
	its_uses := uses(builder, text, p * 1000, program[p].stage)
	found := {name: values[builder][i] | some name, i in its_uses}
	count(found) == count(its_uses)
}

hidden_names(text) if {
	computed_names
	contains(text, "$")
}

# --- Expansion of a word, as Docker does it: quotes, escapes, $x, ${x}, ${x:-word}, ${x:+word} ---

# Characters with a meaning are masked while they have none: quoted, escaped, or in the value of a variable.
mask := {"$": "\uE000", "{": "\uE001", "}": "\uE002"}

unmask := {"\uE000": "$", "\uE001": "{", "\uE002": "}"}

# expand is undefined for what it doesn't know, for example ${x##y}.
expand(word, env) := strings.replace_n(unmask, expanded) if {
	expanded := resolved(resolved(resolved(unquoted(word), env), env), env)
	not contains(expanded, "${")
}

unquoted(word) := concat("", [bare(token) | some token in tokens(word)])

tokens(text) := regex.find_n(`(?s)\\.|'[^']*'|"(?:\\.|[^"\\])*"|[^\\'"]+|.`, text, -1)

bare(token) := strings.replace_n(mask, trim(token, "'")) if regex.match(`(?s)^'.*'$`, token)

bare(token) := concat("", [unescaped(part) |
	some part in regex.find_n(`(?s)\\.|[^\\]+`, substring(token, 1, count(token) - 2), -1)
]) if regex.match(`(?s)^".*"$`, token)

bare(token) := unescaped(token) if not regex.match(`(?s)^(?:'.*'|".*")$`, token)

unescaped(token) := strings.replace_n(mask, substring(token, 1, -1)) if regex.match(`(?s)^\\.`, token)

unescaped(token) := token if not regex.match(`(?s)^\\.`, token)

# pieces cuts a text at its variables: the whole match, name, operator and word of ${}, name of $x.
pieces(text) := regex.find_all_string_submatch_n(
	sprintf(`\$\{(%s|[0-9]+)(?:(:?[-+?])([^${}]*))?\}|\$(%s|[0-9]+|[@*#?!$-])|[^$]+|\$`, [variable, variable]),
	text, -1,
)

resolved(text, env) := concat("", [piece(m, env) | some m in pieces(text)])

piece(m, env) := strings.replace_n(mask, object.get(env, m[1], "")) if {
	m[1] != ""
	m[2] == ""
}

piece(m, env) := strings.replace_n(mask, object.get(env, m[4], "")) if m[4] != ""

piece(m, env) := chosen(m[2], m[3], env[m[1]], m[0]) if {
	m[2] != ""
	env[m[1]]
}

piece(m, env) := chosen_unset(m[2], m[3], m[0]) if {
	m[2] != ""
	not env[m[1]]
}

piece(m, _) := m[0] if {
	m[1] == ""
	m[4] == ""
}

chosen(operator, word, value, _) := word if {
	operator == ":-"
	value == ""
}

chosen(operator, _, value, _) := strings.replace_n(mask, value) if {
	operator in {":-", ":?"}
	value != ""
}

chosen(operator, _, value, _) := strings.replace_n(mask, value) if operator in {"-", "?"}

chosen(operator, word, value, _) := word if {
	operator == ":+"
	value != ""
}

chosen(operator, _, value, _) := "" if {
	operator == ":+"
	value == ""
}

chosen(operator, word, _, _) := word if operator == "+"

# The build fails here.
chosen(operator, _, value, whole) := whole if {
	operator == ":?"
	value == ""
}

chosen_unset(operator, word, _) := word if operator in {":-", "-"}

chosen_unset(operator, _, _) := "" if operator in {":+", "+"}

chosen_unset(operator, _, whole) := whole if operator in {":?", "?"}

# --- USER ---

users := [p | some p, op in program; op.cmd == "user"]

last_user := users[count(users) - 1]

numeric_user := "write USER 65532:65532"

user_problem(builder, p) := user_value_problem(expand(program[p].value[0], env(builder, program[p].value[0], p))) if {
	plain(program[p].value[0])
}

user_problem(builder, p) := "the user can't be told from the Dockerfile" if not told(builder, p)

told(builder, p) if {
	plain(program[p].value[0])
	expand(program[p].value[0], env(builder, program[p].value[0], p))
}

literal_user_problem(word) := user_value_problem(expand(word, {}))

literal_user_problem(word) := "the user can't be told from the Dockerfile" if not expand(word, {})

user_value_problem(user) := "it expands to nothing, and the image runs as root" if trim_space(user) == ""

user_value_problem(user) := sprintf("%q is root", [user]) if regex.match(`(?i)^\s*(?:root|[+-]?0+)\s*(?::.*)?$`, user)

user_value_problem(user) := sprintf("%q is not a number from 1 to 2147483647, and Kubernetes can't see that it is not root", [user]) if {
	trim_space(user) != ""
	not regex.match(`(?i)^\s*(?:root|[+-]?0+)\s*(?::.*)?$`, user)
	not numeric(user)
}

# The group may have a name: it decides nothing.
numeric(user) if {
	regex.match(`^[0-9]{1,18}(?::[A-Za-z0-9._-]+)?$`, user)
	to_number(trim_left(split(user, ":")[0], "0")) <= 2147483647
}

# --- LABEL ---

required_labels := {
	"org.opencontainers.image.title",
	"org.opencontainers.image.description",
	"org.opencontainers.image.source",
}

# labels are those of the image in order: each with its name and, for each builder, its value; without a value that can
# be told, that is empty.
labels := [{"index": op.index, "name": name, "values": label_values} |
	some p, op in program
	op.cmd == "label"
	some k, key in op.value
	k % 3 == 0
	name := expand(key, env("kaniko", key, p))
	label_values := {builder: label_value(builder, op.value[k + 1], p) | some builder in builders}
]

label_value(builder, word, p) := expand(word, env(builder, word, p))

label_value(builder, word, p) := "" if not expand(word, env(builder, word, p))

# --- Images ---

# images are the uses of images from outside, in every stage.
images contains {"index": froms[stage], "image": ref} if {
	some stage, ref in base
	not parent[stage]
	ref != "scratch"
}

images contains {"index": froms[stage], "image": ""} if {
	some stage, _ in froms
	not base[stage]
}

images contains {"index": i, "image": ref} if {
	some i, instruction in input
	some flag in words(instruction.Flags)
	some m in regex.find_all_string_submatch_n(`^--from=(.+)$|^--mount=(?:.*,)?from=([^,]+)`, flag, -1)
	ref := trim(concat("", [m[1], m[2]]), `"'`)
	not names_stage(ref)
}

names_stage(ref) if lower(ref) in {name | some name in stage_name}

names_stage(ref) if regex.match(`^[0-9]+$`, ref)

names_stage("scratch")

unpinned(image) := "nobody can tell which image that is" if regex.match("^$|[$\\\\`]", image)

unpinned(image) := "without a tag the image is latest, another one every time" if {
	named(image)
	not contains(last_part(image), ":")
}

unpinned(image) := "latest is another image every time" if {
	named(image)
	split(last_part(image), ":")[1] in {"latest", ""}
}

named(image) if {
	not regex.match("^$|[$\\\\`]", image)
	not regex.match(`@[a-z0-9+._-]+:[0-9a-fA-F]{32,}$`, image)
}

last_part(image) := parts[count(parts) - 1] if parts := split(split(image, "@")[0], "/")

# --- RUN ---

# runs are the RUN instructions of the image, with their text for each builder, and those that its triggers will run.
runs := array.concat(
	[object.union(op, {"texts": {text | some builder in builders; text := script(op, run_env(builder, op, p))}, "files": here_files(p)}) |
		some p, op in program
		op.cmd == "run"
	],
	[object.union(op, {"texts": {script(op, {})}, "files": []}) | some op in triggers(final); op.cmd == "run"],
)

# run_env has the variables that are known: those of the shell itself stay as they are written.
run_env(builder, op, p) := {name: values[builder][i] |
	some name, i in uses(builder, concat(" ", array.concat(op.flags, op.value)), p * 1000, op.stage)
}

# script is the text that a shell reads, with known variables expanded and "sh -c" taken apart.
script(op, env) := simple(unwrapped(shell_expanded(shell_expanded(text_of(op), env), env)))

text_of(op) := concat(" ", op.value) if not op.json

text_of(op) := op.value[2] if json_shell(op)

text_of(op) := concat(" ", op.value) if {
	op.json
	not json_shell(op)
}

json_shell(op) if {
	op.json
	regex.match(`^(?:\S*/)?[a-z]*sh$`, op.value[0])
	regex.match(`^-\w*c$`, op.value[1])
}

shell_expanded(text, env) := concat("", [shell_piece(m, env) | some m in pieces(text)])

# The shell does not look for operators and quotes in values.
shell_piece(m, env) := inert(env[concat("", [m[1], m[4]])]) if {
	env[concat("", [m[1], m[4]])]
	not m[2] in {":+", "+"}
}

shell_piece(m, env) := m[3] if {
	env[m[1]]
	m[2] in {":+", "+"}
}

shell_piece(m, env) := m[3] if {
	not env[m[1]]
	m[2] in {":-", "-"}
}

shell_piece(m, env) := m[0] if {
	not env[concat("", [m[1], m[4]])]
	not m[2] in {":-", "-"}
}

inert(text) := regex.replace(text, "[;&|#<>\n'\"$`\\\\]", "_")

# unwrapped shows the script of sh -c "..." as if it stood there.
unwrapped(text) := regex.replace(
	regex.replace(text, sprintf(`%s"((?:\\.|[^"\\])*)"`, [shell_call]), " ( $1 ) "),
	sprintf(`%s'([^']*)'`, [shell_call]), " ( $1 ) ",
)

shell_call := `\b(?:ba|da|a|z|k)?sh\s+(?:[-+]\w+\s+(?:pipefail\s+)?)*-\w*c\s+`

# simple has no quotes and escapes: what was quoted has its words, but no operators.
simple(text) := regex.replace(concat("", [simple_token(token) | some token in tokens(text)]), `\d*[<>]&[\d-]|&>`, " ")

simple_token(token) := inert(substring(token, 1, count(token) - 2)) if regex.match(`(?s)^(?:'.*'|".*")$`, token)

simple_token(token) := "" if token == "\\\n"

simple_token(token) := inert(substring(token, 1, -1)) if {
	startswith(token, "\\")
	token != "\\\n"
}

simple_token(token) := token if {
	not startswith(token, "\\")
	not regex.match(`(?s)^(?:'.*'|".*")$`, token)
}

# commands are the commands of a script in order: each with its text, its words and what stands before and after it.
commands(text) := [{"n": n, "text": trim_space(part), "words": shell_words(part), "before": object.get(parts, n - 1, ""), "after": object.get(parts, n + 1, "")} |
	parts := {n: part | some n, part in regex.find_n(`&&|\|\||[;&|\n]|[^;&|\n]+`, uncommented(text), -1)}
	some n, part in parts
]

uncommented(text) := regex.replace(text, `(^|[\s;&|(])#[^\n]*`, "$1")

shell_words(text) := [word | some word in regex.split("[\\s()`]+", replace(text, "$(", " ")); not word in {"", "{", "}"}]

# What is only printed is not run.
printed(cmd) if {
	regex.match(`^(?:echo|printf)\b`, cmd.text)
	not contains(cmd.text, ">")
	cmd.after != "|"
}

calls(cmd, program_name, verbs) if {
	not printed(cmd)
	some i, word in cmd.words
	regex.match(sprintf(`^(?:\S*/s?bin/)?(?:%s)$`, [program_name]), word)
	some j, verb in cmd.words
	j > i
	verb in verbs
}

# removes says that a command deletes a directory, or what is in it.
removes(cmd, path) if {
	not cmd.before in {"||", "|"}
	regex.match(`^(?:(?:sudo|exec|command|then|do|else|env|time|\(|\{|\w+=\S*|-[A-Za-z])\s*)*(?:\S*/s?bin/)?rm\s`, cmd.text)
	some word in cmd.words
	regex.match(path, word)
	recursive(cmd, word)
}

removes(cmd, path) if {
	not cmd.before in {"||", "|"}
	cmd.words[0] == "find"
	"-delete" in cmd.words
	regex.match(path, cmd.words[1])
}

recursive(cmd, _) if {
	some word in cmd.words
	regex.match(`^(?:-[A-Za-z]*[rR][A-Za-z]*|--recursive)$`, word)
}

recursive(_, word) if contains(word, "*")

# mounted says that a directory is not part of the layer.
mounted(run, path) if {
	some flag in run.flags
	regex.match(`^--mount=.*\btype=(?:cache|tmpfs)\b`, flag)
	some m in regex.find_all_string_submatch_n(`\b(?:target|dst|destination)=([^,]+)`, flag, -1)
	regex.match(path, trim(m[1], `"'`))
}

# unseen says why nobody can tell what a RUN does: the bodies of here-documents are not in the input.
unseen(run) := "the body of the here-document can't be seen" if {
	some text in run.texts
	not run.json
	regex.match(`(?:^|\s)\d*<<-?\s*[^<\s]`, text)
} else := sprintf("the here-document that was copied to %s can't be seen", [file.path]) if {
	some file in run.files
	some text in run.texts
	contains(text, file.name)
}

# here_files are the files that here-documents have become before a place of the program.
here_files(p) := [{"path": path, "name": name} |
	some q, op in program
	q < p
	op.cmd == "copy"
	not op.json
	path := op.value[count(op.value) - 1]
	some word in op.value
	startswith(word, "<<")
	name := here_name(path, word)
	name != ""
]

here_name(path, _) := parts[count(parts) - 1] if {
	not endswith(path, "/")
	parts := split(path, "/")
}

here_name(path, word) := trim(word, "<-'\"") if endswith(path, "/")

apt_lists := `^/var/lib/(?:apt/?|apt/\*|apt/lists/?|apt/lists/\*\S*|\{[^}]*\bapt\b[^}]*\}/?|\*)$`

apt_problem(run) := unseen(run) if not mounted(run, apt_lists)

apt_problem(run) := "the lists of apt-get stay in the layer" if {
	not unseen(run)
	not mounted(run, apt_lists)
	some text in run.texts
	all := commands(text)
	filled := [cmd.n | some cmd in all; calls(cmd, "apt|apt-get", {"install"})]
	count(filled) > 0
	dirty := max([cmd.n | some cmd in all; calls(cmd, "apt|apt-get", {"install", "update"})])
	count([1 | some cmd in all; cmd.n > dirty; cleans_apt(cmd)]) == 0
}

cleans_apt(cmd) if removes(cmd, apt_lists)

cleans_apt(cmd) if {
	not cmd.before in {"||", "|"}
	calls(cmd, "apt|apt-get", {"distclean", "dist-clean"})
}

apk_cache := `^(?:/var/cache/(?:apk/?|apk/\*\S*|\*)|/var/cache/?|/etc/apk/cache/?)$`

apk_problem(run) := unseen(run) if not mounted(run, apk_cache)

apk_problem(run) := "apk add leaves its index in the layer" if {
	not unseen(run)
	not mounted(run, apk_cache)
	some text in run.texts
	all := commands(text)
	some cmd in all
	calls(cmd, `apk|apk\.static`, {"add"})
	not "--no-cache" in cmd.words
	count([1 | some other in all; other.n > cmd.n; removes(other, apk_cache)]) == 0
}
