package verify

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

const hexDigest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

func TestStatements(t *testing.T) {
	const kind, subject = `"_type":"https://in-toto.io/Statement/v1"`, `"subject":[{"digest":{"sha256":"` + hexDigest + `"}}]`
	of := func(parts ...string) string { return "{" + strings.Join(parts, ",") + "}" }
	type_ := func(p string) string { return fmt.Sprintf(`"predicateType":%q`, p) }
	const good, other, bad = "good", "other", "bad"
	tests := map[string]struct{ payload, want string }{
		"as it has to be":                   {of(kind, subject, type_("a/v1"), `"predicate":{"x":1,"x":2}`), good},
		"of the first version":              {of(`"_type":"https://in-toto.io/Statement/v0.1"`, subject, type_("a/v1")), good},
		"with fields that nobody knows":     {of(kind, subject, type_("a/v1"), `"new":7`), good},
		"among other subjects":              {of(kind, `"subject":[{"name":"x"},{"digest":7},{"digest":{"sha512":"00","sha256":"`+hexDigest+`"}}]`, type_("a/v1")), good},
		"of another type":                   {of(kind, subject, type_("b/v1")), other},
		"of a type that begins the same":    {of(kind, subject, type_("a/v1.1")), other},
		"of a type that is its beginning":   {of(kind, subject, type_("a/")), other},
		"of the type in other letters":      {of(kind, subject, type_("A/v1")), other},
		"of the type with a blank":          {of(kind, subject, type_("a/v1 ")), other},
		"of no type":                        {of(kind, subject), bad},
		"of a type that is no text":         {of(kind, subject, `"predicateType":["a/v1"]`), bad},
		"of a version that nobody knows":    {of(`"_type":"https://in-toto.io/Statement/v2"`, subject, type_("a/v1")), bad},
		"of no version":                     {of(subject, type_("a/v1")), bad},
		"about another digest":              {of(kind, `"subject":[{"digest":{"sha256":"00"}}]`, type_("a/v1")), bad},
		"about the digest of something":     {of(kind, `"subject":[{"digest":{"gitCommit":"`+hexDigest+`"}}]`, type_("a/v1")), bad},
		"about the digest as a name":        {of(kind, `"subject":[{"name":"`+hexDigest+`"}]`, type_("a/v1")), bad},
		"about nothing":                     {of(kind, `"subject":[]`, type_("a/v1")), bad},
		"without a subject":                 {of(kind, type_("a/v1")), bad},
		"with its type twice":               {of(kind, subject, type_("b/v1"), type_("a/v1")), bad},
		"with its type in other letters":    {of(kind, subject, type_("a/v1"), `"PredicateType":"b/v1"`), bad},
		"with its subject in other letters": {of(kind, subject, type_("a/v1"), `"\u017fubject":[]`), bad},
		"with something behind it":          {of(kind, subject, type_("a/v1")) + "{}", bad},
		"that breaks off":                   {`{` + kind, bad},
		"that is a list":                    {`[]`, bad},
		"that is null":                      {`null`, bad},
		"that is empty":                     {``, bad},
		"with too many fields":              {of(kind, subject, type_("a/v1"), numbered(maxFields)), bad},
		"with too many subjects":            {of(kind, `"subject":[`+strings.Repeat(`{},`, maxValues)+`{"digest":{"sha256":"`+hexDigest+`"}}]`, type_("a/v1")), bad},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			err := checkStatement([]byte(tt.payload), "a/v1", hexDigest)
			_, isBad := errors.AsType[*invalidError](err)
			got := map[bool]string{true: bad, false: good}[isBad]
			if errors.Is(err, errOther) {
				got = other
			}
			if got != tt.want || (err == nil) != (got == good) {
				t.Errorf("got %s: %v", got, err)
			}
		})
	}
}

func numbered(n int) string {
	var out []string
	for i := range n {
		out = append(out, fmt.Sprintf(`"f%d":0`, i))
	}
	return strings.Join(out, ",")
}

func TestSimplePayloads(t *testing.T) {
	const image, kind = `"image":{"docker-manifest-digest":"sha256:` + hexDigest + `"}`, `"type":"cosign container image signature"`
	tests := map[string]struct {
		payload string
		good    bool
	}{
		"as it has to be":          {`{"critical":{` + image + `,` + kind + `},"optional":{"a":1}}`, true},
		"of another type":          {`{"critical":{` + image + `,"type":"atomic container signature"}}`, false},
		"of no type":               {`{"critical":{` + image + `}}`, false},
		"of another image":         {`{"critical":{"image":{"docker-manifest-digest":"sha256:00"},` + kind + `}}`, false},
		"of no image":              {`{"critical":{` + kind + `}}`, false},
		"with two images":          {`{"critical":{"image":{"docker-manifest-digest":"sha256:00"},` + image + `,` + kind + `}}`, false},
		"with an image in letters": {`{"critical":{"Image":{"docker-manifest-digest":"sha256:00"},` + image + `,` + kind + `}}`, false},
		"with two digests":         {`{"critical":{"image":{"docker-manifest-digest":"x","docker-manifest-digest":"sha256:` + hexDigest + `"},` + kind + `}}`, false},
		"that is not critical":     {`{"optional":{` + image + `,` + kind + `}}`, false},
		"that is none":             {`null`, false},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			err := checkSimple([]byte(tt.payload), "sha256:"+hexDigest)
			if _, bad := errors.AsType[*invalidError](err); bad == tt.good || (err == nil) != tt.good {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestCrowded(t *testing.T) {
	tests := map[string]struct {
		raw  string
		want bool
	}{
		"a few":                           {`{"a":[1,2,3]}`, false},
		"a long text":                     {`{"a":"` + strings.Repeat(`,{[`, maxValues) + `"}`, false},
		"a long text with quotes":         {`{"a":"` + strings.Repeat(`\",`, maxValues) + `"}`, false},
		"a text that ends in a backslash": {`{"a":"\\",` + strings.Repeat(`{},`, maxValues) + `}`, true},
		"a text without an end":           {`{"a":"` + strings.Repeat(`,`, 2*maxValues), false},
		"a text that breaks off":          {`{"a":"\`, false},
		"many":                            {`[` + strings.Repeat(`0,`, maxValues) + `0]`, true},
		"deep":                            {strings.Repeat(`[`, maxValues+1), true},
		"nothing":                         {``, false},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			if got := crowded([]byte(tt.raw)); got != tt.want {
				t.Errorf("got %v", got)
			}
		})
	}
}
