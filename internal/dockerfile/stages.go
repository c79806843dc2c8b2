package dockerfile

import (
	"regexp"
	"strconv"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// scratch is the name of the empty base.
const scratch = "scratch"

// stage is one FROM with the references below it.
type stage struct {
	index    int
	name     string // lower case; empty if it has none
	platform string
	line     int
	// final says that the target is this stage or is based on it.
	final bool
	// needed says that the target needs this stage.
	needed bool
	refs   []*reference
}

// label is how messages and Image.Stage name the stage.
func (s *stage) label() string {
	if s.name != "" {
		return s.name
	}
	return strconv.Itoa(s.index)
}

// kind is the syntax of a reference.
type kind int

const (
	fromBase  kind = iota // FROM <written>
	copyFrom              // COPY --from=<written>
	mountFrom             // RUN --mount=...,from=<written>
)

// reference is one place that names an image or a stage.
type reference struct {
	kind    kind
	node    *parser.Node
	written string
	stage   *stage
	// ref is the expanded value, set for stages that are needed.
	ref string
	// external says that ref is an image, neither a stage nor scratch.
	external bool
}

// final says that the reference is the base of the final image.
func (r *reference) final() bool { return r.kind == fromBase && r.stage.final }

// readStages fills f.stages and returns the ARG instructions before the first FROM.
func (f *File) readStages(nodes []*parser.Node) ([]*instructions.ArgCommand, error) {
	var globals []*instructions.ArgCommand
	for _, node := range nodes {
		if err := checkHeredoc(node); err != nil {
			return nil, err
		}
		command, err := instructions.ParseInstruction(node)
		if err != nil {
			return nil, invalid(node.StartLine, "%w", err)
		}
		if arg, ok := command.(*instructions.ArgCommand); ok && len(f.stages) == 0 {
			globals = append(globals, arg)
			continue
		}
		if err := f.add(node, command); err != nil {
			return nil, err
		}
	}
	if len(f.stages) == 0 {
		return nil, invalid(1, "there is no FROM: start with FROM and a base image, or FROM scratch")
	}
	return globals, nil
}

// add appends one instruction to the stages.
func (f *File) add(node *parser.Node, command any) error {
	if from, ok := command.(*instructions.Stage); ok {
		return f.addStage(node, from)
	}
	if len(f.stages) == 0 {
		return invalid(node.StartLine, "%s before the first FROM: only ARG may stand there", strings.ToUpper(node.Value))
	}
	last := f.stages[len(f.stages)-1]
	switch c := command.(type) {
	case *instructions.CopyCommand:
		if c.From != "" {
			last.refs = append(last.refs, &reference{kind: copyFrom, node: node, written: c.From, stage: last})
		}
	case *instructions.RunCommand:
		for _, mount := range instructions.GetMounts(c) {
			if mount.From != "" {
				last.refs = append(last.refs, &reference{kind: mountFrom, node: node, written: mount.From, stage: last})
			}
		}
	case *instructions.OnbuildCommand:
		return f.checkOnbuild(node)
	}
	return nil
}

// addStage starts a stage. Two stages of one name are refused: for FROM Kaniko takes
// the first and BuildKit the last.
func (f *File) addStage(node *parser.Node, from *instructions.Stage) error {
	if len(f.stages) == MaxStages {
		return invalid(node.StartLine, "more than %d stages: split the Dockerfile", MaxStages)
	}
	if from.Name == scratch {
		return invalid(node.StartLine, "a stage cannot be named %q, which stands for the empty image: choose another name", scratch)
	}
	if _, ok := f.stageBefore(from.Name, len(f.stages)); ok {
		return invalid(node.StartLine, "a second stage is named %q: choose another name", from.Name)
	}
	s := &stage{index: len(f.stages), name: from.Name, platform: from.Platform, line: node.StartLine}
	s.refs = []*reference{{kind: fromBase, node: node, written: from.BaseName, stage: s}}
	f.stages = append(f.stages, s)
	return nil
}

// stageBefore finds a stage by name, in any case, among the first n.
func (f *File) stageBefore(name string, n int) (*stage, bool) {
	for _, s := range f.stages[:n] {
		if s.name != "" && strings.EqualFold(s.name, name) {
			return s, true
		}
	}
	return nil, false
}

// findTarget sets the stage to build.
func (f *File) findTarget() error {
	f.target = len(f.stages) - 1
	if f.opts.Target == "" {
		return nil
	}
	s, ok := f.stageBefore(f.opts.Target, len(f.stages))
	if !ok {
		return invalid(f.stages[f.target].line, "spec.target: no stage is named %q: name one (FROM … AS %s), remove spec.target, or use one of %q", f.opts.Target, f.opts.Target, f.names(len(f.stages)))
	}
	f.target = s.index
	return nil
}

// names lists the names of the first n stages.
func (f *File) names(n int) []string {
	names := []string{}
	for _, s := range f.stages[:n] {
		if s.name != "" {
			names = append(names, s.name)
		}
	}
	return names
}

var spacedHeredoc = regexp.MustCompile(`<<-?[\t\v\f\r ]`)

// checkHeredoc refuses "<< EOF": older parsers do not see a here-document there and
// would run its body as instructions, FROM included.
func checkHeredoc(node *parser.Node) error {
	if len(node.Heredocs) > 0 && spacedHeredoc.MatchString(node.Original) {
		return invalid(node.StartLine, "a space between << and the name of a here-document: write <<%s", node.Heredocs[0].Name)
	}
	return nil
}

var escapes = strings.NewReplacer(`\`, "", "`", "", `"`, "", `'`, "")

// checkOnbuild refuses triggers that pull an image: they run in another build, where
// nothing pins them. Kaniko parses triggers again and without the escape directive, so
// the check reads through both escapes, and the two are not allowed together.
func (f *File) checkOnbuild(node *parser.Node) error {
	if f.escape != parser.DefaultEscapeToken {
		return invalid(node.StartLine, "ONBUILD together with an escape directive: remove the directive")
	}
	text := strings.ToLower(escapes.Replace(node.Original))
	if strings.Contains(text, "--from") || strings.Contains(text, "--mount") && strings.Contains(text, "from") {
		return invalid(node.StartLine, "ONBUILD with --from or a mount from another image: nothing pins what it pulls; copy the files in a stage instead")
	}
	return nil
}
