package dockerfile

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
)

// maxWord bounds a word before and after expansion, in bytes. ARGs that double
// each other would otherwise need 2^n bytes for n lines.
const maxWord = 4 << 10

// environment is the ARGs that FROM sees.
type environment struct {
	lex    *shell.Lex
	values map[string]string
}

// Get implements shell.EnvGetter.
func (e *environment) Get(name string) (string, bool) {
	value, ok := e.values[name]
	return value, ok
}

// Keys implements shell.EnvGetter.
func (e *environment) Keys() []string { return slices.Sorted(maps.Keys(e.values)) }

// globals evaluates the ARGs before the first FROM on top of the automatic ones.
func (f *File) globals(args []*instructions.ArgCommand) (*environment, error) {
	env := &environment{lex: shell.NewLex(rune(f.escape)), values: f.automatic()}
	for _, command := range args {
		line := command.Location()[0].Start.Line
		for _, arg := range command.Args {
			if err := env.declare(arg, f.opts.BuildArgs); err != nil {
				return nil, invalid(line, "ARG %s: %w", arg.Key, err)
			}
		}
	}
	return env, nil
}

// automatic returns the ARGs that are there without being declared
// (https://docs.docker.com/reference/dockerfile/#automatic-platform-args-in-the-global-scope).
// As in BuildKit, build arguments override them.
func (f *File) automatic() map[string]string {
	p := f.opts.Platform
	values := map[string]string{
		"TARGETPLATFORM": p.String(), "TARGETOS": p.OS, "TARGETARCH": p.Architecture, "TARGETVARIANT": "", "TARGETOSVERSION": "",
		"BUILDPLATFORM": p.String(), "BUILDOS": p.OS, "BUILDARCH": p.Architecture, "BUILDVARIANT": "", "BUILDOSVERSION": "",
		"TARGETSTAGE": "default",
	}
	if f.opts.Target != "" {
		values["TARGETSTAGE"] = f.opts.Target
	}
	for name := range values {
		if value, ok := f.opts.BuildArgs[name]; ok && len(value) <= maxWord {
			values[name] = value
		}
	}
	return values
}

// declare adds one ARG: the build argument as it is, else the expanded default. An ARG
// with neither stays undefined.
func (e *environment) declare(arg instructions.KeyValuePairOptional, buildArgs map[string]string) error {
	if value, ok := buildArgs[arg.Key]; ok {
		if len(value) > maxWord {
			return fmt.Errorf("the build argument has %d bytes: at most %d are allowed", len(value), maxWord)
		}
		e.values[arg.Key] = value
		return nil
	}
	if arg.Value == nil {
		return nil
	}
	result, err := e.process(*arg.Value)
	if err != nil {
		return err
	}
	e.values[arg.Key] = result.Result
	return nil
}

// process expands one word within bounds.
func (e *environment) process(word string) (shell.ProcessWordResult, error) {
	if len(word) > maxWord {
		return shell.ProcessWordResult{}, fmt.Errorf("the value has %d bytes: at most %d are allowed", len(word), maxWord)
	}
	result, err := e.lex.ProcessWordWithMatches(word, e)
	if err != nil {
		return result, err
	}
	if len(result.Result) > maxWord {
		return result, fmt.Errorf("the value has %d bytes after expansion: at most %d are allowed", len(result.Result), maxWord)
	}
	return result, nil
}

// bare matches uses of a variable without a default of its own: $X, ${X}, ${X#y}.
var bare = regexp.MustCompile(`\$(?:\{(\w+)[}#%/]|(\w+))`)

// undefinedError is a word that uses an ARG without a value.
type undefinedError struct{ word, name string }

func (e *undefinedError) Error() string {
	return fmt.Sprintf("%q uses %s, which has no value: add ARG %s=<default> before the first FROM, or set it in spec.buildArgs for an ARG that is declared there", e.word, e.name, e.name)
}

// expand returns the value of a word of FROM. A variable without value and without
// default is an error: an image name with a hole in it is another image.
func (e *environment) expand(word string) (string, error) {
	result, err := e.process(word)
	if err != nil {
		return "", err
	}
	for _, m := range bare.FindAllStringSubmatch(word, -1) {
		name := m[1] + m[2]
		if _, ok := result.Unmatched[name]; ok {
			return "", &undefinedError{word: word, name: name}
		}
	}
	if !plain(result.Result) {
		return "", fmt.Errorf("%q expands to %q, which is not a reference: check the ARGs that it uses", word, result.Result)
	}
	return result.Result, nil
}

// plain says whether s could be a reference: printable ASCII without spaces and
// without the characters that a second expansion would interpret.
func plain(s string) bool {
	if s == "" {
		return false
	}
	return strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune("$\"'`\\", r) }) < 0
}
