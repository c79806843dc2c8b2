package inspect

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

var strict = Policy{User: 65532, MaxSize: 100, RequiredLabels: []string{"title", "source"}}

// good is an image that breaks nothing.
func good() Facts {
	return Facts{
		CompressedBytes: 100, User: "65532:65532", Labels: map[string]string{"title": "x", "source": "y"},
		Passwd: &Accounts{List: []Account{{0, 0}, {65532, 65532}}, Total: 2},
	}
}

func paths(names ...string) Paths { return Paths{List: names, Total: len(names)} }

func TestCheck(t *testing.T) {
	all := func(f *Facts) {
		f.Shells, f.PackageManagers, f.PackageDatabases = paths("/bin/sh"), paths("/sbin/apk"), paths("/lib/apk/db/installed")
		f.Setuid, f.Setgid, f.Capabilities, f.WorldWritable = paths("/bin/su"), paths("/bin/wall"), paths("/bin/ping"), paths("/data")
	}
	tests := map[string]struct {
		change func(*Facts, *Policy)
		// want has words of each message by its check.
		want map[string][]string
	}{
		"a good image":                     {func(*Facts, *Policy) {}, nil},
		"a user without a group":           {func(f *Facts, _ *Policy) { f.User = "65532" }, nil},
		"a user with another group":        {func(f *Facts, _ *Policy) { f.User = "65532:1000" }, nil},
		"no user":                          {func(f *Facts, _ *Policy) { f.User = "" }, map[string][]string{CheckUserNumeric: {"root", "USER 65532:65532"}}},
		"a user by name":                   {func(f *Facts, _ *Policy) { f.User = "nonroot" }, map[string][]string{CheckUserNumeric: {`"nonroot"`, "USER 65532:65532"}}},
		"a user with a sign":               {func(f *Facts, _ *Policy) { f.User = "+65532" }, map[string][]string{CheckUserNumeric: {`"+65532"`}}},
		"a user with a zero in front":      {func(f *Facts, _ *Policy) { f.User = "065532" }, map[string][]string{CheckUserNumeric: {`"065532"`}}},
		"a user below zero":                {func(f *Facts, _ *Policy) { f.User = "-1" }, map[string][]string{CheckUserNumeric: {`"-1"`}}},
		"a user beyond 31 bits":            {func(f *Facts, _ *Policy) { f.User = "4294967296" }, map[string][]string{CheckUserNumeric: {`"4294967296"`}}},
		"only a group":                     {func(f *Facts, _ *Policy) { f.User = ":65532" }, map[string][]string{CheckUserNumeric: {`":65532"`}}},
		"root":                             {func(f *Facts, _ *Policy) { f.User = "0:65532" }, map[string][]string{CheckUserUID: {"root", "USER 65532:65532"}}},
		"another user":                     {func(f *Facts, _ *Policy) { f.User = "1000:1000" }, map[string][]string{CheckUserUID: {"1000", "65532", "spec.tests.user"}}},
		"another user that is asked for":   {func(f *Facts, p *Policy) { f.User, p.User, f.Passwd.List[1].UID = "1000:1000", 1000, 1000 }, nil},
		"the group of root":                {func(f *Facts, _ *Policy) { f.User = "65532:0" }, map[string][]string{CheckUserGroup: {"group 0", "USER 65532:65532"}}},
		"a group by name":                  {func(f *Facts, _ *Policy) { f.User = "65532:root" }, map[string][]string{CheckUserGroup: {`"65532:root"`}}},
		"an empty group":                   {func(f *Facts, _ *Policy) { f.User = "65532:" }, map[string][]string{CheckUserGroup: {`"65532:"`}}},
		"more than a group":                {func(f *Facts, _ *Policy) { f.User = "65532:65532:0" }, map[string][]string{CheckUserGroup: {"65532:65532:0"}}},
		"the group of root by /etc/passwd": {func(f *Facts, _ *Policy) { f.User, f.Passwd.List[1].GID = "65532", 0 }, map[string][]string{CheckUserGroup: {"/etc/passwd", "group 0"}}},
		"a group stands over /etc/passwd":  {func(f *Facts, _ *Policy) { f.Passwd.List[1].GID = 0 }, nil},
		"no /etc/passwd":                   {func(f *Facts, _ *Policy) { f.Passwd = nil }, map[string][]string{CheckPasswdEntry: {"missing", "nonroot:x:65532:65532:"}}},
		"no entry for the user":            {func(f *Facts, _ *Policy) { f.Passwd.List = f.Passwd.List[:1]; f.Passwd.Total = 1 }, map[string][]string{CheckPasswdEntry: {"no entry for user 65532", "nonroot:x:65532:65532:"}}},
		"too many entries":                 {func(f *Facts, _ *Policy) { f.Passwd.List = f.Passwd.List[:1]; f.Passwd.Total = 9 }, map[string][]string{CheckPasswdEntry: {"9 users"}}},
		"another user without an entry":    {func(f *Facts, _ *Policy) { f.User, f.Passwd = "1000", nil }, map[string][]string{CheckUserUID: {"1000"}, CheckPasswdEntry: {"65532"}}},
		"everything that is forbidden": {func(f *Facts, _ *Policy) { all(f) }, map[string][]string{
			CheckNoShell:           {`"/bin/sh"`, "spec.tests.shells", "FROM scratch"},
			CheckNoPackageManager:  {`"/sbin/apk"`, "spec.tests.packageManagers"},
			CheckNoPackageDatabase: {`"/lib/apk/db/installed"`, "spec.tests.packageManagers"},
			CheckNoSetuid:          {`"/bin/su" (setuid)`, `"/bin/wall" (setgid)`, `"/bin/ping" (file capabilities)`, "spec.tests.setuidFiles"},
			CheckNoWorldWritable:   {`"/data"`, "chmod"},
		}},
		"everything that can be allowed": {func(f *Facts, p *Policy) { all(f); p.Shells, p.PackageManagers, p.SetuidFiles = true, true, true },
			map[string][]string{CheckNoWorldWritable: {"/data"}}},
		"something where the probe will be, whatever is allowed": {func(f *Facts, p *Policy) {
			f.HasReserved, p.Shells, p.PackageManagers, p.SetuidFiles = true, true, true, true
		},
			map[string][]string{CheckReservedPath: {"/basewright-probe", "runtime tests", "elsewhere"}}},
		"many paths": {func(f *Facts, _ *Policy) {
			f.Shells = Paths{List: []string{"/1", "/2", "/3", "/4", "/5", "/6"}, Total: 17}
		}, map[string][]string{CheckNoShell: {`"/1", "/2", "/3", "/4", "/5" and 12 more:`}}},
		"many files with more rights": {func(f *Facts, _ *Policy) {
			f.Setuid, f.Setgid = paths("/1", "/2", "/3"), Paths{List: []string{"/4", "/5", "/6"}, Total: 9}
		}, map[string][]string{CheckNoSetuid: {`"/5" (setgid) and 7 more:`}}},
		"labels that are missing":          {func(f *Facts, _ *Policy) { f.Labels = nil }, map[string][]string{CheckLabel: {`"source", "title"`, "LABEL", "spec.tests.requiredLabels"}}},
		"a label without a value":          {func(f *Facts, _ *Policy) { f.Labels["title"] = " " }, map[string][]string{CheckLabel: {`"title"`}}},
		"one byte too many":                {func(f *Facts, _ *Policy) { f.CompressedBytes++ }, map[string][]string{CheckSize: {"101", "100", "spec.tests.maxSize"}}},
		"as many bytes without a limit":    {func(f *Facts, p *Policy) { f.CompressedBytes, p.MaxSize = 1<<40, 0 }, nil},
		"what is in no policy is no fault": {func(f *Facts, _ *Policy) { f.HasZoneinfo, f.HasCABundle = false, false }, nil},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			f, p := good(), strict
			tt.change(&f, &p)
			got := Check(f, p)
			if len(got) != len(tt.want) || !slices.IsSortedFunc(got, func(a, b Finding) int { return strings.Compare(a.Check, b.Check) }) {
				t.Errorf("got %q", got)
			}
			for _, finding := range got {
				words, ok := tt.want[finding.Check]
				if !ok {
					t.Errorf("unexpected: %q", finding)
				}
				for _, word := range words {
					if !strings.Contains(finding.Message, word) {
						t.Errorf("%q does not have %q", finding.Message, word)
					}
				}
			}
		})
	}
}

func TestMessagesOfHostileImagesFitAndSayWhatToDo(t *testing.T) {
	for desc, part := range map[string]string{
		"bytes that are no text": "\xff\xfe", "lines": "\n\r", "directions": "\u202e", "quotes": `"`, "letters of four bytes": "\U0001F600", "letters": "a",
	} {
		t.Run(desc, func(t *testing.T) {
			name := "/" + strings.Repeat(part, 200)
			many := Paths{List: slices.Repeat([]string{name}, 64), Total: 1 << 40}
			var labels []string
			for i := range 32 {
				labels = append(labels, fmt.Sprint(name, i))
			}
			f := Facts{
				CompressedBytes: 1 << 62, User: name, Shells: many, PackageManagers: many, PackageDatabases: many,
				Setuid: many, Setgid: many, Capabilities: many, WorldWritable: many,
			}
			findings := Check(f, Policy{User: 1<<31 - 1, MaxSize: 1, RequiredLabels: labels})
			f.User = "65532:" + name
			findings = append(findings, Check(f, Policy{User: 1<<31 - 1})...)
			for _, finding := range findings {
				if len(finding.Message) > maxMessage || !utf8.ValidString(finding.Message) || strings.ContainsAny(finding.Message, "\n\r\u202e") {
					t.Errorf("%d bytes: %q", len(finding.Message), finding.Message)
				}
				if strings.HasSuffix(finding.Message, "…") {
					t.Errorf("cut short: %q", finding.Message)
				}
			}
			if len(findings) != 8+8 {
				t.Errorf("got %d findings", len(findings))
			}
		})
	}
}

func TestQuoteKeepsBothEnds(t *testing.T) {
	for name, want := range map[string]string{
		"/bin/sh": `"/bin/sh"`,
		"/start" + strings.Repeat("x", 99) + "/sh": `"/startxxxxxxxxxxxxxxx…xxxxxxxxxxxxxxxxxx/sh"`,
	} {
		if got := quote(name); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
