package probe

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// containerd's mounts, with a VOLUME and a mount point with a space.
const mountInfo = `912 811 0:71 / / ro,relatime - overlay overlay rw,lowerdir=/a
913 912 0:74 / /proc rw,nosuid - proc proc rw
914 912 0:75 / /dev rw,nosuid - tmpfs tmpfs rw,mode=755
915 914 0:76 / /dev/shm rw,nosuid - tmpfs shm rw
916 912 0:77 / /sys ro,nosuid - sysfs sysfs ro
917 912 8:1 /v /data rw,relatime - ext4 /dev/sda1 rw
918 912 8:1 /s /with\040space rw,relatime - ext4 /dev/sda1 rw
919 912 8:1 /h /etc/hosts ro,relatime - ext4 /dev/sda1 rw
`

func mountsOf(t *testing.T, info string) []mount {
	t.Helper()
	m := Machine{Proc: t.TempDir()}
	must(t, os.WriteFile(filepath.Join(m.Proc, "mountinfo"), []byte(info), 0o644))
	all, err := m.mounts()
	must(t, err)
	return all
}

func TestMountOf(t *testing.T) {
	mounts := mountsOf(t, mountInfo+"920 912 8:1 / /data rw - ext4 /dev/sda2 ro\n")
	for path, want := range map[string]mount{
		"/":               {"/", true},
		"/var/lib":        {"/", true},
		"/data":           {"/data", false},
		"/data/below":     {"/data", false},
		"/database":       {"/", true},
		"/with space/x":   {"/with space", false},
		"/etc/hosts":      {"/etc/hosts", true},
		"/dev/shm/x":      {"/dev/shm", false},
		"/sys/fs/cgroup/": {"/sys", true},
	} {
		if diff := cmp.Diff(want, mountOf(mounts, path), cmp.AllowUnexported(mount{})); diff != "" {
			t.Errorf("%s: %s", path, diff)
		}
	}
	// What is mounted last is what is seen.
	over := mountOf(mountsOf(t, "1 1 0:1 / / ro - a b rw\n2 1 0:1 / / rw - a b rw\n"), "/x")
	if over.readOnly {
		t.Error("the mount below is seen")
	}
}

// directory is what creating a file in a directory answers, others refuse it as read-only.
type directory map[string]error

func (d directory) create(root string) func(string) error {
	return func(dir string) error {
		rel := strings.TrimPrefix(dir, root)
		if rel == "" {
			rel = "/"
		}
		if err, ok := d[rel]; ok {
			return err
		}
		return &os.PathError{Op: "open", Path: dir, Err: syscall.EROFS}
	}
}

func TestReadOnlyRoot(t *testing.T) {
	image := files{"tmp/": "", "var/cache/": "", "usr/lib/": "", "app/": "", "home/app/deep/": "", "data/": "", "with space/": "", "run": "-> var/cache", "etc/passwd": ""}
	writable := strings.Replace(mountInfo, "/ / ro,relatime", "/ / rw,relatime", 1)
	tests := map[string]struct {
		mounts  string
		answers directory
		want    Outcome
		says    string
	}{
		"read-only": {mountInfo, nil, Passed, "no file can be created in 11 directories"},
		"a writable mount of the image or the cluster":       {mountInfo, directory{"/data": nil}, Passed, "mounts something there: /data"},
		"a mount with a space":                               {mountInfo, directory{"/with space": nil}, Passed, "mounts something there: /with space"},
		"directories that the user can't look into":          {mountInfo, directory{"/home/app": syscall.EACCES}, Passed, ""},
		"a directory that went away":                         {mountInfo, directory{"/app": syscall.ENOENT}, Passed, ""},
		"a mount that is writable, but not for this user":    {writable, directory{"/": syscall.EACCES}, Failed, "readOnlyRootFilesystem: true"},
		"a mount that is writable, on a read-only device":    {writable, nil, Failed, "not mounted read-only"},
		"no root among the mounts":                           {strings.Replace(mountInfo, " / / ro", " / /x ro", 1), nil, Failed, "not mounted read-only"},
		"no mounts":                                          {"", nil, Failed, "not mounted read-only"},
		"a file in / although its mount is read-only":        {mountInfo, directory{"/": nil}, Failed, "creating a file in /"},
		"/ that refuses for another reason":                  {mountInfo, directory{"/": syscall.EACCES}, Failed, "creating a file in /"},
		"a file in /tmp":                                     {mountInfo, directory{"/tmp": nil}, Failed, "/tmp"},
		"a file in HOME":                                     {mountInfo, directory{"/home/app/deep": nil}, Failed, "/home/app/deep"},
		"a file on the second level":                         {mountInfo, directory{"/var/cache": nil}, Failed, "/var/cache"},
		"a file in a directory of PATH":                      {mountInfo, directory{"/usr/lib": nil}, Failed, "/usr/lib"},
		"a disk that is full, which would have been written": {mountInfo, directory{"/tmp": syscall.ENOSPC}, Failed, "/tmp"},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			m := machine(t, image, map[string]string{"HOME": "/home/app/deep", "PATH": "/usr/lib:relative:/missing"})
			m.Create = tt.answers.create(m.Root)
			expect(t, m.readOnlyRoot(mountsOf(t, tt.mounts)), tt.want, tt.says)
		})
	}
}

func TestReadOnlyRootIsBounded(t *testing.T) {
	image := files{}
	for a := range strings.SplitSeq(strings.Repeat("abcdefghij", 3), "") {
		for range 30 {
			image["d"+a+string(rune('a'+len(image)%26))+"/"+strings.Repeat("x", 1+len(image)/26)+"/"] = ""
		}
	}
	for i := range 600 {
		image["many/"+strings.Repeat("y", 1+i/26)+string(rune('a'+i%26))+"/"] = ""
	}
	m := machine(t, image, nil)
	tried := 0
	m.Create = func(string) error { tried++; return syscall.EROFS }
	expect(t, m.readOnlyRoot(mountsOf(t, mountInfo)), Passed)
	if tried < 100 || tried > maxDirectories+maxVolumes+1 {
		t.Errorf("%d directories were tried", tried)
	}
}

func TestCreateLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	must(t, create(dir))
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("left %v, %v", entries, err)
	}
	if err := create(filepath.Join(dir, "missing")); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("got %v", err)
	}
}

func TestNoToken(t *testing.T) {
	const dir = "run/secrets/kubernetes.io/serviceaccount"
	tests := map[string]struct {
		image  files
		mounts string
		want   Outcome
		says   string
	}{
		"none":                              {nil, mountInfo, Passed, ""},
		"an empty directory of the builder": {files{"var/" + dir + "/": ""}, mountInfo, Passed, ""},
		"a token that the image has":        {files{"var/" + dir + "/token": "x"}, mountInfo, Failed, "the image has /var/" + dir + "/token: remove it"},
		"one in /run":                       {files{dir + "/token": "x"}, mountInfo, Failed, "/" + dir},
		"a link to one that is not there":   {files{dir + "/token": "-> nowhere"}, mountInfo, Failed, "/" + dir},
		"a volume of the cluster":           {nil, mountInfo + "1 912 0:9 / /var/" + dir + " ro - tmpfs tmpfs rw\n", Failed, "is mounted, although"},
		"one in /run of the cluster":        {nil, mountInfo + "1 912 0:9 / /" + dir + " ro - tmpfs tmpfs rw\n", Failed, "is mounted, although"},
		"a mount of another secret":         {nil, mountInfo + "1 912 0:9 / /var/run/secrets/other ro - tmpfs tmpfs rw\n", Passed, ""},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			expect(t, machine(t, tt.image, nil).noToken(mountsOf(t, tt.mounts)), tt.want, tt.says)
		})
	}
}
