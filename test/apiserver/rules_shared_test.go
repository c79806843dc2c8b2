//go:build apiserver

package apiserver

import "strconv"

// sharedRules are those of the types that a BaseImage and a BaseImageBuild have both: source, buildArgs,
// platforms and output.
func sharedRules() map[string]rule {
	named := func(i int) any { return map[string]any{"name": "A" + strconv.Itoa(i)} }
	tag := func(i int) any { return "v" + strconv.Itoa(i) }
	toleration := func(int) any { return map[string]any{"operator": "Exists"} }
	git := map[string]any{"url": "https://git.example/images"}
	inline := map[string]any{"dockerfile": "FROM scratch"}
	secret := map[string]any{"name": "push"}
	ssh := func(url string) any { return map[string]any{"url": url, "secretRef": secret} }
	return map[string]rule{
		"source has one member": {field: "spec.source", keyword: "rule 0", says: "exactly one",
			good: map[string]any{"git": git}, bad: map[string]any{"git": git, "inline": inline}},
		"source has no second member": {field: "spec.source", keyword: "rule 0", says: "exactly one",
			good: map[string]any{"configMapRef": map[string]any{"name": "x"}}, bad: map[string]any{}},

		"git has a URL":         {field: "spec.source.git", keyword: "required url", blames: "spec.source.git.url", says: "Required", good: git, bad: map[string]any{"ref": "main"}},
		"a URL is not empty":    {field: "spec.source.git.url", keyword: "minLength", good: "https://a", bad: "https:/", says: "8"},
		"a URL is short":        {field: "spec.source.git.url", keyword: "maxLength", good: "https://a/" + text(2038), bad: "https://a/" + text(2039), says: "2048"},
		"a URL is https":        {field: "spec.source.git.url", keyword: "rule 0", good: "https://git.example/x", bad: "http://git.example/x", says: "must start with https://"},
		"a URL has no password": {field: "spec.source.git.url", keyword: "rule 1", good: "https://git.example/@x", bad: "https://me:secret@git.example/x", says: "must not contain a user or password"},
		"a URL has no user":     {field: "spec.source.git.url", keyword: "rule 1", good: "https://git.example/x@y", bad: "https://me@git.example/x", says: "must not contain a user or password"},

		"a URL may be of SSH":                    {field: "spec.source.git.url", keyword: "rule 0", good: "https://git.example/ssh://", bad: "git@git.example:x", says: "or ssh://"},
		"an SSH URL has a user":                  {field: "spec.source.git", keyword: "rule 2", where: "spec.source.git.url", blames: "spec.source.git.url", good: ssh("ssh://git@git.example:22/x"), bad: ssh("ssh://git.example/x"), says: "ssh://user@host/path"},
		"an SSH URL has no password":             {field: "spec.source.git", keyword: "rule 2", where: "spec.source.git.url", blames: "spec.source.git.url", good: ssh("ssh://git@git.example/x"), bad: ssh("ssh://git:secret@git.example/x"), says: "without a password"},
		"an SSH URL needs a key":                 {field: "spec.source.git", keyword: "rule 0", blames: "spec.source.git.secretRef", good: ssh("ssh://git@git.example/x"), bad: map[string]any{"url": "ssh://git@git.example/x"}, says: "known_hosts"},
		"a git secret is named":                  {field: "spec.source.git.secretRef", keyword: "required name", blames: "spec.source.git.secretRef.name", good: secret, bad: map[string]any{}, says: "Required"},
		"a git secret has a name":                {field: "spec.source.git.secretRef.name", keyword: "minLength", good: "a", bad: "", says: "1"},
		"a git secret's name is short":           {field: "spec.source.git.secretRef.name", keyword: "maxLength", good: text(253), bad: text(254), says: "253"},
		"a git secret is of the same namespace":  {field: "spec.source.git.secretRef.name", keyword: "pattern", good: "a-b.c", bad: "other/git", says: "should match"},
		"a source is polled each minute at most": {field: "spec.source.pollInterval", keyword: "rule 0", good: "1m", bad: "59s", says: "0s, or between 1m and 168h"},
		"a source is polled each week at least":  {field: "spec.source.pollInterval", keyword: "rule 0", good: "168h", bad: "169h", says: "0s, or between 1m and 168h"},
		"a source need not be polled":            {field: "spec.source.pollInterval", keyword: "rule 0", good: "0s", bad: "-1m", says: "0s, or between 1m and 168h"},
		"a poll interval is a duration":          {field: "spec.source.pollInterval", keyword: "rule 0", good: "1h30m", bad: "never", says: "Duration"},

		"a ref is not empty":                  {field: "spec.source.git.ref", keyword: "minLength", good: "m", bad: "", says: "1"},
		"a ref is short":                      {field: "spec.source.git.ref", keyword: "maxLength", good: text(255), bad: text(256), says: "255"},
		"a ref does not look like an option":  {field: "spec.source.git.ref", keyword: "pattern", good: "refs/heads/fix/a_b+c@d#1", bad: "--upload-pack=x", says: "should match"},
		"a ref has no spaces":                 {field: "spec.source.git.ref", keyword: "pattern", good: text(40), bad: "main x", says: "should match"},
		"a path is not empty":                 {field: "spec.source.git.path", keyword: "minLength", good: "a", bad: "", says: "1"},
		"a path is short":                     {field: "spec.source.git.path", keyword: "maxLength", good: text(512), bad: text(513), says: "512"},
		"a path is relative":                  {field: "spec.source.git.path", keyword: "rule 0", good: "a/b..c/..d", bad: "/a", says: "relative path"},
		"a path stays in the repository":      {field: "spec.source.git.path", keyword: "rule 0", good: "a/b", bad: "a/../../b", says: "'..'"},
		"inline has a Dockerfile":             {field: "spec.source.inline", keyword: "required dockerfile", blames: "spec.source.inline.dockerfile", says: "Required", good: inline, bad: map[string]any{"files": map[string]any{}}},
		"an inline Dockerfile is not empty":   {field: "spec.source.inline.dockerfile", keyword: "minLength", good: "#", bad: "", says: "1"},
		"an inline Dockerfile is small":       {field: "spec.source.inline.dockerfile", keyword: "maxLength", good: text(65536), bad: text(65537), says: "65536"},
		"there are at most 64 files":          {field: "spec.source.inline.files", keyword: "maxProperties", good: entries(64), bad: entries(65), says: "64"},
		"a file is small":                     {field: "spec.source.inline.files", where: "spec.source.inline.files{}", blames: "spec.source.inline.files.x", keyword: "maxLength", good: map[string]any{"x": text(65536)}, bad: map[string]any{"x": text(65537)}, says: "65536"},
		"a file's name is relative":           {field: "spec.source.inline.files", keyword: "rule 0", good: map[string]any{"a/b.c": ""}, bad: map[string]any{"/a": ""}, says: "relative path"},
		"a file's name has no dot dot":        {field: "spec.source.inline.files", keyword: "rule 0", good: map[string]any{"..a": ""}, bad: map[string]any{"a/../b": ""}, says: "'..'"},
		"a file's name has no dot":            {field: "spec.source.inline.files", keyword: "rule 0", good: map[string]any{".a": ""}, bad: map[string]any{"a/./b": ""}, says: "'.'"},
		"a file's name has no empty part":     {field: "spec.source.inline.files", keyword: "rule 0", good: map[string]any{"a": ""}, bad: map[string]any{"a//b": ""}, says: "relative path"},
		"a file's name is not empty":          {field: "spec.source.inline.files", keyword: "rule 0", good: map[string]any{}, bad: map[string]any{"": ""}, says: "relative path"},
		"a file's name is short":              {field: "spec.source.inline.files", keyword: "rule 0", good: map[string]any{text(255): ""}, bad: map[string]any{text(256): ""}, says: "255"},
		"the Dockerfile is not a file":        {field: "spec.source.inline.files", keyword: "rule 1", good: map[string]any{"x/Dockerfile": ""}, bad: map[string]any{"Dockerfile": ""}, says: "must not contain Dockerfile"},
		"a ConfigMap is named":                {field: "spec.source.configMapRef", keyword: "required name", blames: "spec.source.configMapRef.name", says: "Required", good: secret, bad: map[string]any{}},
		"a ConfigMap's name is not empty":     {field: "spec.source.configMapRef.name", keyword: "minLength", good: "a", bad: "", says: "1"},
		"a ConfigMap's name is short":         {field: "spec.source.configMapRef.name", keyword: "maxLength", good: text(253), bad: text(254), says: "253"},
		"a ConfigMap's name is one":           {field: "spec.source.configMapRef.name", keyword: "pattern", good: "a-b.c", bad: "other/name", says: "should match"},
		"a target is not empty":               {field: "spec.target", keyword: "minLength", good: "a", bad: "", says: "1"},
		"a target is short":                   {field: "spec.target", keyword: "maxLength", good: text(128), bad: text(129), says: "128"},
		"there are at most 64 build args":     {field: "spec.buildArgs", keyword: "maxItems", good: items(64, named), bad: items(65, named), says: "64"},
		"build args have different names":     {field: "spec.buildArgs", keyword: "unique", blames: "spec.buildArgs[1]", good: items(2, named), bad: append(items(1, named), named(0)), says: "Duplicate"},
		"a build arg has a name":              {field: "spec.buildArgs[0]", keyword: "required name", blames: "spec.buildArgs[0].name", good: named(0), bad: map[string]any{"value": "x"}, says: "Required"},
		"a build arg's name is not empty":     {field: "spec.buildArgs[0].name", keyword: "minLength", good: "A", bad: "", says: "1"},
		"a build arg's name is short":         {field: "spec.buildArgs[0].name", keyword: "maxLength", good: text(128), bad: text(129), says: "128"},
		"a build arg's name is an identifier": {field: "spec.buildArgs[0].name", keyword: "pattern", good: "_A1", bad: "A=B", says: "should match"},
		"TARGETPLATFORM is the operator's":    {field: "spec.buildArgs[0].name", keyword: "rule 0", good: "TARGET", bad: "TARGETPLATFORM", says: "is set by the operator"},
		"TARGETOS is the operator's":          {field: "spec.buildArgs[0].name", keyword: "rule 0", good: "OS", bad: "TARGETOS", says: "is set by the operator"},
		"TARGETARCH is the operator's":        {field: "spec.buildArgs[0].name", keyword: "rule 0", good: "ARCH", bad: "TARGETARCH", says: "is set by the operator"},
		"a build arg's value is short":        {field: "spec.buildArgs[0].value", keyword: "maxLength", good: text(4096), bad: text(4097), says: "4096"},

		"there is a platform":                    {field: "spec.platforms", keyword: "minItems", good: platforms[:1], bad: []any{}, says: "at least 1"},
		"there are at most two platforms":        {field: "spec.platforms", keyword: "maxItems", good: platforms, bad: append(platforms[:2:2], platforms[0]), also: "spec.platforms[2]", says: "2"},
		"platforms are different":                {field: "spec.platforms", keyword: "unique", blames: "spec.platforms[1]", good: platforms, bad: []any{platforms[0], platforms[0]}, says: "Duplicate"},
		"a platform is named":                    {field: "spec.platforms[0]", keyword: "required platform", blames: "spec.platforms[0].platform", good: platforms[0], bad: map[string]any{"nodeSelector": map[string]any{}}, says: "Required"},
		"a platform is supported":                {field: "spec.platforms[0].platform", keyword: "enum", good: "linux/arm64", bad: "linux/riscv64", says: "linux/arm64"},
		"a node selector is small":               {field: "spec.platforms[0].nodeSelector", keyword: "maxProperties", good: entries(32), bad: entries(33), says: "32"},
		"there are at most 32 tolerations":       {field: "spec.platforms[0].tolerations", keyword: "maxItems", good: items(32, toleration), bad: items(33, toleration), says: "32"},
		"output names a repository":              {field: "spec.output", keyword: "required repository", blames: "spec.output.repository", good: map[string]any{"repository": "a.b/c"}, bad: map[string]any{"tags": []any{"x"}}, says: "Required"},
		"a repository is not empty":              {field: "spec.output.repository", keyword: "minLength", good: "a./c", bad: "a/", says: "3"},
		"a repository is short":                  {field: "spec.output.repository", keyword: "maxLength", good: "a.b/" + text(251), bad: "a.b/" + text(252), says: "255"},
		"a repository has no tag":                {field: "spec.output.repository", keyword: "pattern", good: "registry.example:5000/a/b-c_d.e", bad: "registry.example/a:latest", says: "should match"},
		"a repository has no digest":             {field: "spec.output.repository", keyword: "pattern", good: "localhost/a", bad: "registry.example/a@" + digest, says: "should match"},
		"a repository is in lower case":          {field: "spec.output.repository", keyword: "pattern", good: "Registry.example/a__b", bad: "registry.example/A", says: "should match"},
		"a repository has a registry":            {field: "spec.output.repository", keyword: "rule 0", good: "host:5000/image", bad: "library/alpine", says: "registry host"},
		"there is a tag":                         {field: "spec.output.tags", keyword: "minItems", good: items(1, tag), bad: []any{}, says: "at least 1"},
		"there are at most 16 tags":              {field: "spec.output.tags", keyword: "maxItems", good: items(16, tag), bad: items(17, tag), says: "16"},
		"tags are different":                     {field: "spec.output.tags", keyword: "unique", blames: "spec.output.tags[1]", good: items(2, tag), bad: []any{"a", "a"}, says: "Duplicate"},
		"a tag is not empty":                     {field: "spec.output.tags[0]", keyword: "minLength", good: "a", bad: "", says: "1"},
		"a tag is not one of signatures":         {field: "spec.output.tags[0]", keyword: "rule 0", good: "sha256-1", bad: "sha256-" + digest[7:] + ".sig", says: "hold signatures"},
		"a tag is short":                         {field: "spec.output.tags[0]", keyword: "maxLength", good: text(128), bad: text(129), says: "128"},
		"a tag does not start with a dot":        {field: "spec.output.tags[0]", keyword: "pattern", good: "_1.2-x", bad: ".x", says: "should match"},
		"a tag has no slash":                     {field: "spec.output.tags[0]", keyword: "pattern", good: "V1", bad: "a/b", says: "should match"},
		"a push secret is named":                 {field: "spec.output.pushSecretRef", keyword: "required name", blames: "spec.output.pushSecretRef.name", good: secret, bad: map[string]any{}, says: "Required"},
		"a push secret's name is not empty":      {field: "spec.output.pushSecretRef.name", keyword: "minLength", good: "a", bad: "", says: "1"},
		"a push secret's name is short":          {field: "spec.output.pushSecretRef.name", keyword: "maxLength", good: text(253), bad: text(254), says: "253"},
		"a push secret is of the same namespace": {field: "spec.output.pushSecretRef.name", keyword: "pattern", good: "a-b.c", bad: "other/push", says: "should match"},
	}
}
