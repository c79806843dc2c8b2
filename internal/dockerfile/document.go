package dockerfile

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"

	"github.com/ibshafique/base-images/internal/pipeline"
)

// Document returns what rules see of a Dockerfile: the list of instructions that conftest gives to a policy, from the
// same parser, and the line from 1 that each of them starts at, which conftest doesn't give. Errors are like those of
// Parse.
func Document(content []byte) (document []any, lines []int, err error) {
	defer func() {
		if p := recover(); p != nil {
			document, lines, err = nil, nil, unparsable(p)
		}
	}()
	result, err := parse(content)
	if err != nil {
		return nil, nil, err
	}
	stage := 0
	for _, node := range result.AST.Children {
		instruction, err := instructions.ParseInstruction(node)
		if err != nil {
			return nil, nil, invalid(node.StartLine, "%w", err)
		}
		if _, ok := instruction.(*instructions.Stage); ok {
			stage++
		}
		for _, comment := range node.PrevComment {
			document = append(document, entry("comment", "", nil, []any{comment}, false, stage))
			lines = append(lines, node.StartLine)
		}
		document = append(document, instructionEntry(node, stage))
		lines = append(lines, node.StartLine)
	}
	return document, lines, nil
}

// parse reads the instructions of a Dockerfile within bounds.
func parse(content []byte) (*parser.Result, error) {
	if len(content) > MaxSize {
		return nil, pipeline.Terminalf(pipeline.ReasonDockerfileInvalid, "the Dockerfile has %d bytes, at most %d are read: move files and scripts into the context", len(content), MaxSize)
	}
	if !utf8.Valid(content) {
		return nil, pipeline.Terminalf(pipeline.ReasonDockerfileInvalid, "the Dockerfile is not UTF-8: convert it")
	}
	result, err := parser.Parse(bytes.NewReader(content))
	if err != nil {
		return nil, syntaxError(err)
	}
	return result, nil
}

// unparsable makes the error of a panic in the parser.
func unparsable(p any) error {
	return pipeline.Terminalf(pipeline.ReasonDockerfileInvalid, "the Dockerfile cannot be parsed: %v: simplify it until it builds with docker build", fmt.Sprint(p))
}

// instructionEntry is one instruction. What ONBUILD triggers is inside of its node, and its flags are not shown.
func instructionEntry(node *parser.Node, stage int) any {
	name, sub, flags := strings.ToLower(node.Value), "", node.Flags
	if node.Next != nil && len(node.Next.Children) > 0 {
		node = node.Next.Children[0]
		sub = node.Value
	}
	var value []any
	for n := node.Next; n != nil; n = n.Next {
		value = append(value, n.Value)
	}
	return entry(name, sub, flags, value, node.Attributes["json"], stage)
}

// entry has the names that conftest uses. Everything before the first FROM belongs to stage 0.
func entry(name, sub string, flags []string, value []any, isJSON bool, stages int) any {
	return map[string]any{
		"Cmd": name, "SubCmd": sub, "Flags": list(flags), "Value": orNull(value), "JSON": isJSON, "Stage": max(stages-1, 0),
	}
}

func list(words []string) any {
	if words == nil {
		return nil
	}
	all := make([]any, len(words))
	for i, w := range words {
		all[i] = w
	}
	return all
}

func orNull(all []any) any {
	if all == nil {
		return nil
	}
	return all
}
