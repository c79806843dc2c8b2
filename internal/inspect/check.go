package inspect

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Checks, as findings name them.
const (
	CheckUserNumeric       = "user-numeric"
	CheckUserUID           = "user-uid"
	CheckUserGroup         = "user-group"
	CheckPasswdEntry       = "passwd-entry"
	CheckNoShell           = "no-shell"
	CheckNoPackageManager  = "no-package-manager"
	CheckNoPackageDatabase = "no-package-database"
	CheckNoSetuid          = "no-setuid"
	CheckNoWorldWritable   = "no-world-writable"
	CheckReservedPath      = "reserved-path"
	CheckLabel             = "label"
	CheckSize              = "size"
)

const (
	// maxMessage bounds a finding's message, maxNamed and maxQuoted what it names.
	maxMessage = 512
	maxNamed   = 5
	maxQuoted  = 48
)

// Policy is what an image may be like.
type Policy struct {
	// User that the image must declare and have.
	User int64
	// Shells, PackageManagers and SetuidFiles are true where the image may have them.
	Shells, PackageManagers, SetuidFiles bool
	// MaxSize of the compressed layers; 0 is no limit.
	MaxSize int64
	// RequiredLabels must be there and not empty.
	RequiredLabels []string
}

// Finding is one way in which an image breaks a policy.
type Finding struct {
	// Check that failed, one of Check….
	Check string
	// Message says what was found and what to change: one line of at most 512 bytes, fit for a condition.
	Message string
}

// Check judges an image. There is at most one finding of each check, sorted by its name.
func Check(f Facts, p Policy) []Finding {
	all := slices.Concat(checkUser(f, p), checkContents(f, p), checkLabels(f, p), checkSize(f, p))
	for i := range all {
		all[i].Message = clip(all[i].Message, maxMessage)
	}
	slices.SortFunc(all, func(a, b Finding) int { return cmp.Compare(a.Check, b.Check) })
	return all
}

func found(check, format string, args ...any) []Finding {
	return []Finding{{Check: check, Message: fmt.Sprintf(format, args...)}}
}

// checkUser judges the config's user. Who is no number is not looked up.
func checkUser(f Facts, p Policy) []Finding {
	user, group, grouped := strings.Cut(f.User, ":")
	uid, ok := id(user)
	switch {
	case f.User == "":
		return found(CheckUserNumeric, "the image declares no user and would run as root: write USER %d:%d at the end of the Dockerfile", p.User, p.User)
	case !ok:
		return found(CheckUserNumeric, "the image's user %s is not a number, so that nobody can tell from outside that it isn't root: write USER %d:%d in the Dockerfile", quote(f.User), p.User, p.User)
	}
	all := checkUID(uid, p)
	entry, ok := f.Passwd.Find(p.User)
	if !ok {
		all = append(all, checkPasswd(f, p)...)
	}
	if grouped {
		return append(all, checkGroup(group, f, p)...)
	}
	if ok && entry.GID == 0 {
		all = append(all, found(CheckUserGroup, "/etc/passwd puts user %d into group 0, which is root's: write USER %d:%d in the Dockerfile, or give the user another group in /etc/passwd", p.User, p.User, p.User)...)
	}
	return all
}

func checkUID(uid int64, p Policy) []Finding {
	switch uid {
	case p.User:
		return nil
	case 0:
		return found(CheckUserUID, "the image's user is 0, which is root, and must be %d: write USER %d:%d in the Dockerfile", p.User, p.User, p.User)
	}
	return found(CheckUserUID, "the image's user is %d and must be %d: write USER %d:%d in the Dockerfile, or set spec.tests.user to %d", uid, p.User, p.User, p.User, uid)
}

func checkGroup(group string, f Facts, p Policy) []Finding {
	gid, ok := id(group)
	switch {
	case !ok:
		return found(CheckUserGroup, "the group of the image's user %s is not a number: write USER %d:%d in the Dockerfile", quote(f.User), p.User, p.User)
	case gid == 0:
		return found(CheckUserGroup, "the image's user %s is in group 0, which is root's: write USER %d:%d in the Dockerfile", quote(f.User), p.User, p.User)
	}
	return nil
}

func checkPasswd(f Facts, p Policy) []Finding {
	problem := "has no entry for"
	switch {
	case f.Passwd == nil:
		problem = "is missing, or no file that can be read as one, and must have"
	case f.Passwd.Total > len(f.Passwd.List):
		problem = fmt.Sprintf("has %d users, of which only %d are looked at, and must have among them", f.Passwd.Total, len(f.Passwd.List))
	}
	return found(CheckPasswdEntry, "/etc/passwd %s user %d: COPY one into the image with the line nonroot:x:%d:%d:nonroot:/home/nonroot:/sbin/nologin", problem, p.User, p.User, p.User)
}

// id reads a number as it is written without anything to spare, so that all runtimes read the same.
func id(s string) (int64, bool) {
	n, err := strconv.ParseInt(s, 10, 32)
	return n, err == nil && n >= 0 && strconv.FormatInt(n, 10) == s
}

func checkContents(f Facts, p Policy) []Finding {
	var all []Finding
	if !p.Shells && f.Shells.Total > 0 {
		all = append(all, found(CheckNoShell, "the image has shells: %s: start the last stage FROM scratch or a base without one, or set spec.tests.shells to Allow", f.Shells)...)
	}
	if !p.PackageManagers && f.PackageManagers.Total > 0 {
		all = append(all, found(CheckNoPackageManager, "the image has package managers: %s: install in an earlier stage and COPY the result, or set spec.tests.packageManagers to Allow", f.PackageManagers)...)
	}
	if !p.PackageManagers && f.PackageDatabases.Total > 0 {
		all = append(all, found(CheckNoPackageDatabase, "the image has databases of package managers: %s: COPY only what is needed from an earlier stage, or set spec.tests.packageManagers to Allow", f.PackageDatabases)...)
	}
	if what := privileged(f); !p.SetuidFiles && what != "" {
		all = append(all, found(CheckNoSetuid, "the image has files that give more rights to who runs them: %s: RUN chmod ug-s or setcap -r on them, or set spec.tests.setuidFiles to Allow", what)...)
	}
	if f.WorldWritable.Total > 0 {
		all = append(all, found(CheckNoWorldWritable, "the image has directories that everybody may write to: %s: RUN chmod o-w on them, or chmod +t if they are shared as /tmp is", f.WorldWritable)...)
	}
	if f.HasReserved {
		all = append(all, found(CheckReservedPath, "the image has something at /%s, where the runtime tests mount their probe, and which they would not see: put it elsewhere", reservedPath)...)
	}
	return all
}

// privileged names files with the setuid or setgid bit or capabilities: at most five, each with what it has.
func privileged(f Facts) string {
	var all []string
	total := 0
	for _, kind := range []struct {
		name  string
		paths Paths
	}{{"setuid", f.Setuid}, {"setgid", f.Setgid}, {"file capabilities", f.Capabilities}} {
		total += kind.paths.Total
		for _, p := range kind.paths.List {
			all = append(all, quote(p)+" ("+kind.name+")")
		}
	}
	return enumerate(all, total)
}

func checkLabels(f Facts, p Policy) []Finding {
	var missing []string
	for _, name := range slices.Sorted(slices.Values(p.RequiredLabels)) {
		if strings.TrimSpace(f.Labels[name]) == "" {
			missing = append(missing, quote(name))
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return found(CheckLabel, "the image lacks a value for labels: %s: write LABEL name=\"value\" for each in the last stage of the Dockerfile, or take them out of spec.tests.requiredLabels", enumerate(missing, len(missing)))
}

func checkSize(f Facts, p Policy) []Finding {
	if p.MaxSize <= 0 || f.CompressedBytes <= p.MaxSize {
		return nil
	}
	return found(CheckSize, "the image's layers take %d bytes and may take %d: COPY less into the last stage of the Dockerfile, or raise spec.tests.maxSize", f.CompressedBytes, p.MaxSize)
}

// String names at most five paths, quoted, and how many more there are.
func (p Paths) String() string {
	quoted := make([]string, len(p.List))
	for i, name := range p.List {
		quoted[i] = quote(name)
	}
	return enumerate(quoted, p.Total)
}

func enumerate(quoted []string, total int) string {
	named := quoted[:min(len(quoted), maxNamed)]
	text := strings.Join(named, ", ")
	if more := total - len(named); more > 0 && len(named) > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// quote makes whatever somebody called a file fit for a message. Long names lose their middle: beginning and end tell them
// apart.
func quote(name string) string {
	quoted := strconv.Quote(name)
	if len(quoted) <= maxQuoted {
		return quoted
	}
	const dots = "…"
	half := (maxQuoted - len(dots)) / 2
	return strings.ToValidUTF8(quoted[:half], "") + dots + strings.ToValidUTF8(quoted[len(quoted)-half:], "")
}
