package probe

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// copySelf puts a real program at a path of the image.
func copySelf(t *testing.T, m Machine, paths ...string) {
	t.Helper()
	self, err := os.Executable()
	must(t, err)
	for _, path := range paths {
		must(t, os.MkdirAll(filepath.Dir(m.at(path)), 0o755))
		if os.Link(self, m.at(path)) != nil {
			content, err := os.ReadFile(self)
			must(t, err)
			must(t, os.WriteFile(m.at(path), content, 0o755))
		}
	}
}

func TestNoShell(t *testing.T) {
	self, err := os.Executable()
	must(t, err)
	path := map[string]string{"PATH": "/opt/tools:/bin:relative::/missing"}
	tests := map[string]struct {
		programs []string
		image    files
		want     Outcome
		says     []string
	}{
		"an empty image":                           {nil, nil, Passed, []string{"from 1 directories"}},
		"programs that are none":                   {[]string{"/bin/app", "/bin/shell", "/bin/apt"}, nil, Passed, nil},
		"sh":                                       {[]string{"/bin/sh"}, nil, Failed, []string{"/bin/sh;", "spec.tests.shells: Allow"}},
		"busybox without links":                    {[]string{"/bin/busybox"}, nil, Failed, []string{"/bin/busybox"}},
		"busybox where distroless has it":          {[]string{"/busybox/busybox"}, nil, Failed, []string{"/busybox/busybox"}},
		"a link to something else":                 {[]string{"/usr/lib/tool"}, files{"bin/sh": "-> ../usr/lib/tool"}, Failed, []string{"/bin/sh"}},
		"a directory of PATH":                      {[]string{"/opt/tools/bash"}, nil, Failed, []string{"/opt/tools/bash"}},
		"the root":                                 {[]string{"/ash"}, nil, Failed, []string{"/ash"}},
		"a merged /usr, named once":                {[]string{"/usr/bin/dash"}, files{"bin": "-> usr/bin"}, Failed, []string{"executed: /usr/bin/dash;"}},
		"many":                                     {[]string{"/bin/sh", "/bin/ash", "/bin/bash", "/bin/dash", "/bin/ksh", "/bin/zsh"}, nil, Failed, []string{"and 1 more"}},
		"a script that has its interpreter":        {[]string{"/tmp/interpreter"}, files{"bin/sh": "#!{root}/tmp/interpreter\n"}, Failed, []string{"/bin/sh"}},
		"a program that runs on":                   {nil, files{"bin/sh": "#!{self} forever\n"}, Failed, []string{"/bin/sh"}},
		"a script without its interpreter":         {nil, files{"bin/sh": "#!/missing/interpreter\n"}, Passed, nil},
		"a text that is no script":                 {nil, files{"bin/sh": "echo\n"}, Passed, nil},
		"a program for another machine":            {nil, files{"bin/sh": "\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xff\xff" + strings.Repeat("\x00", 100)}, Passed, nil},
		"a directory":                              {nil, files{"bin/sh/": ""}, Passed, nil},
		"a FIFO":                                   {nil, files{"bin/sh": "fifo"}, Passed, nil},
		"a link to itself":                         {nil, files{"bin/sh": "-> sh"}, Passed, nil},
		"a link to nothing":                        {nil, files{"bin/sh": "-> missing"}, Passed, nil},
		"a directory of PATH that links to itself": {nil, files{"opt/tools": "-> tools"}, Passed, nil},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			m := machine(t, nil, path)
			for name, content := range tt.image {
				tt.image[name] = strings.NewReplacer("{root}", m.Root, "{self}", self).Replace(content)
			}
			tt.image.write(t, m.Root)
			copySelf(t, m, tt.programs...)
			swept := 0
			m.Sweep = func() { swept++ }
			expect(t, m.noShell(), tt.want, tt.says...)
			if (swept > 0) != (tt.want == Failed) {
				t.Errorf("swept %d times", swept)
			}
		})
	}
}

func TestAShellThatMayNotBeExecuted(t *testing.T) {
	m := machine(t, nil, nil)
	copySelf(t, m, "/lib/tool")
	content, err := os.ReadFile(m.at("/lib/tool"))
	must(t, err)
	must(t, os.MkdirAll(m.at("/bin"), 0o755))
	must(t, os.WriteFile(m.at("/bin/sh"), content, 0o644))
	expect(t, m.noShell(), Passed)
	must(t, os.Chmod(m.at("/bin/sh"), 0o755))
	expect(t, m.noShell(), Failed, "/bin/sh")
}

func TestAShellThatIsBeingWritten(t *testing.T) {
	m := machine(t, nil, nil)
	copySelf(t, m, "/lib/tool")
	content, err := os.ReadFile(m.at("/lib/tool"))
	must(t, err)
	must(t, os.MkdirAll(m.at("/bin"), 0o755))
	f, err := os.OpenFile(m.at("/bin/sh"), os.O_CREATE|os.O_WRONLY, 0o755)
	must(t, err)
	_, err = f.Write(content)
	must(t, err)
	defer func() { must(t, f.Close()) }()
	// ETXTBSY says nothing of what comes when it is closed.
	expect(t, m.noShell(), Failed, "could not find out whether /bin/sh can be executed", "text file busy")
}

func TestNoPackageManager(t *testing.T) {
	for desc, tt := range map[string]struct {
		program string
		want    Outcome
		says    string
	}{
		"apt":               {"/usr/bin/apt", Failed, "/usr/bin/apt; remove them"},
		"apk":               {"/sbin/apk", Failed, "spec.tests.packageManagers: Allow"},
		"dpkg":              {"/usr/bin/dpkg", Failed, "/usr/bin/dpkg"},
		"rpm":               {"/usr/bin/rpm", Failed, "/usr/bin/rpm"},
		"a shell is none":   {"/bin/sh", Passed, ""},
		"a method of apt's": {"/usr/lib/apt/methods", Passed, ""},
	} {
		t.Run(desc, func(t *testing.T) {
			m := machine(t, nil, nil)
			copySelf(t, m, tt.program)
			expect(t, m.noPackageManager(), tt.want, tt.says)
		})
	}
}

func TestWhatRunsOnIsKilled(t *testing.T) {
	self, err := os.Executable()
	must(t, err)
	p, err := start(self, []string{self, "forever"})
	must(t, err)
	killGroup(p.Pid)
	state, err := p.Wait()
	must(t, err)
	if status := state.Sys().(syscall.WaitStatus); status.Signal() != syscall.SIGKILL {
		t.Errorf("ended with %s", state)
	}
}

func TestUsable(t *testing.T) {
	self, err := os.Executable()
	must(t, err)
	usable := Here(self, "-test.run=^$")
	if err := usable.Usable(); err != nil {
		t.Errorf("got %v", err)
	}
	faked := usable
	faked.Proc = t.TempDir()
	if err := faked.Usable(); err == nil {
		t.Error("a /proc of the image is believed")
	}
	missing := usable
	missing.Proc = filepath.Join(faked.Proc, "missing")
	if err := missing.Usable(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no /proc: got %v", err)
	}
	for desc, command := range map[string][]string{"can't be started": {faked.Proc}, "fails": {self, "-test.no-such-flag"}} {
		broken := usable
		broken.Self = command
		if err := broken.Usable(); err == nil {
			t.Errorf("a probe that %s: got no error", desc)
		}
	}
}
