package headers

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"bpfd/internal/wire"

	"github.com/ulikunitz/xz"
	"golang.org/x/sys/unix"
)

// target answers for the files of a target, in which the test puts what it
// needs.
type target struct {
	mu    sync.Mutex // protects following
	files map[string][]byte
	open  map[wire.Handle]string
	next  wire.Handle
	reads int
	cut   int // reads after which the connection is gone, if not 0
}

var errCut = errors.New("the connection to the target is gone")

func (f *target) NewHandle() wire.Handle {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.next++
	return f.next
}

func (f *target) Post(_ wire.Type, m wire.Message) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, h := range m.(*wire.Close).Handles {
		delete(f.open, h)
	}
	return nil
}

func (f *target) Do(_ wire.Type, req wire.Message, reply wire.Body) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var answer wire.Message
	switch r := req.(type) {
	case *wire.Path:
		b, ok := f.files[r.Path]
		answer = &wire.StatReply{Attr: wire.Attr{Size: uint64(len(b))}, Errno: errno(ok)}
	case *wire.Open:
		b, ok := f.files[r.Path]
		if r.Snapshot > 0 && len(b) < int(r.Snapshot) {
			answer = &wire.OpenReply{Errno: errno(ok), EOF: true, Bytes: b}
			break
		}
		f.open[r.Result] = r.Path
		answer = &wire.OpenReply{Errno: errno(ok)}
	case *wire.Read:
		if f.reads++; f.cut > 0 && f.reads > f.cut {
			return errCut
		}
		b := f.files[f.open[r.Handle]]
		b = b[min(int(r.Off), len(b)):]
		answer = &wire.BytesReply{Bytes: b[:min(int(r.Len), len(b))]}
	}
	return reply.Decode(answer.Append(nil))
}

func errno(ok bool) uint32 {
	if ok {
		return 0
	}
	return uint32(unix.ENOENT)
}

var board = wire.Info{Release: "5.10.100-board", Version: "#1 SMP Thu Jan 1 00:00:00 UTC 1970", Arch: "arm64", Machine: "aarch64"}

// sources are the headers of a kernel.
func sources(release, config string) map[string]string {
	return map[string]string{
		utsrelease: fmt.Sprintf("#define UTS_RELEASE %q\n", release),
		autoconf:   "#define CONFIG_X 1\n#define " + config + " 1\n",
		kconfig:    "/* kconfig */\n",
	}
}

var packed struct {
	once  sync.Once
	bytes []byte
}

// large are the headers of the board's kernel, in an archive of several pieces.
func large(t *testing.T) []byte {
	packed.once.Do(func() { packed.bytes = archived(t, manySources()) })
	return packed.bytes
}

func manySources() map[string]string {
	random := make([]byte, 600<<10)
	for i, x := 0, uint32(1); i < len(random); i++ {
		x = x*1664525 + 1013904223
		random[i] = byte('a' + x>>28)
	}
	files := sources(board.Release, "CONFIG_ARM64")
	files["include/linux/sched.h"] = string(random)
	return files
}

// archived packs files as kheaders.tar.xz has them.
func archived(t *testing.T, files map[string]string, more ...*tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	z, err := xz.NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(z)
	for name, content := range files {
		more = append(more, &tar.Header{Name: "./" + name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(content))})
	}
	for _, h := range more {
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			io.WriteString(w, files[strings.TrimPrefix(h.Name, "./")])
		}
	}
	w.Close()
	z.Close()
	return b.Bytes()
}

func finder(t *testing.T, files map[string][]byte, opts Options) (*Finder, *target) {
	t.Helper()
	remote := &target{files: files, open: make(map[wire.Handle]string)}
	return NewFinder(remote, &board, opts), remote
}

// written is a directory with these files.
func written(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// leftovers are what is in the cache besides whole trees and locks.
func leftovers(t *testing.T) []string {
	t.Helper()
	left, err := filepath.Glob(stored(".new-*"))
	if err != nil {
		t.Fatal(err)
	}
	return left
}

func TestArchive(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	var last, total uint64
	files := map[string][]byte{Archive: large(t)}
	f, remote := finder(t, files, Options{Progress: func(d, n uint64) { last, total = d, n }})
	if !f.Available() || remote.reads != 0 {
		t.Fatalf("available: %v, after %d reads", f.Available(), remote.reads)
	}
	tree, err := f.Find()
	if err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(tree.Source + "/" + kconfig); err != nil || string(b) != "/* kconfig */\n" {
		t.Errorf("%q, %v", b, err)
	}
	if last != total || total != uint64(len(files[Archive])) || len(remote.open) != 0 {
		t.Errorf("progress %d of %d, %d files open", last, total, len(remote.open))
	}
	again, remote := finder(t, files, Options{})
	if got, err := again.Find(); err != nil || got != tree || remote.reads != 0 {
		t.Errorf("the second time: %v, %v, %d reads", got, err, remote.reads)
	}
	// Another build of the same release has headers of its own.
	notes := append([]byte{4, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0}, "GNU\x00\xab\xcd\x00\x00"...)
	other, _ := finder(t, map[string][]byte{"/sys/kernel/notes": notes, Archive: files[Archive]}, Options{})
	if got, err := other.Find(); err != nil || got == tree || !strings.HasSuffix(got.Build, "/abcd") {
		t.Errorf("another build: %v, %v", got, err)
	}
}

// What goes wrong leaves nothing that is taken for headers the next time.
func TestBadArchive(t *testing.T) {
	good := large(t)
	link := func(name, to string) []byte {
		return archived(t, sources(board.Release, "CONFIG_ARM64"), &tar.Header{Name: name, Linkname: to, Typeflag: tar.TypeSymlink})
	}
	flipped := bytes.Clone(good)
	flipped[len(flipped)/2] ^= 1
	for _, c := range []struct {
		name    string
		archive []byte
		cut     int
		message string
	}{
		{"truncated", good[:len(good)/2], 0, "truncated"},
		{"truncated at its end", good[:len(good)-9], 0, "truncated"},
		{"empty", nil, 0, "truncated"},
		{"damaged", flipped, 0, "damaged"},
		{"no xz", []byte("this is no archive at all, just text"), 0, "damaged"},
		{"cut off", good, 1, errCut.Error()},
		{"another release", archived(t, sources("5.10.100", "CONFIG_ARM64")), 0, "release 5.10.100, but the target's release is 5.10.100-board"},
		{"another architecture", archived(t, sources(board.Release, "CONFIG_X86_64")), 0, "architecture amd64, but the target's architecture is arm64"},
		{"no headers", archived(t, map[string]string{"README": "hello"}), 0, "include/generated/utsrelease.h"},
		{"parent", archived(t, nil, &tar.Header{Name: "../escaped", Typeflag: tar.TypeReg}), 0, "leads out"},
		{"absolute", archived(t, nil, &tar.Header{Name: "/tmp/escaped", Typeflag: tar.TypeReg}), 0, "leads out"},
		{"absolute link", link("etc", "/etc"), 0, "leads out"},
		{"link to a parent", link("include/etc", "../../../etc"), 0, "leads out"},
		{"hard link", archived(t, nil, &tar.Header{Name: "passwd", Linkname: "../../etc/passwd", Typeflag: tar.TypeLink}), 0, "leads out"},
		{"through a link", archived(t, nil, &tar.Header{Name: "a", Linkname: "b/../..", Typeflag: tar.TypeSymlink},
			&tar.Header{Name: "a/escaped", Typeflag: tar.TypeReg}), 0, "leads out"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("XDG_CACHE_HOME", t.TempDir())
			f, remote := finder(t, map[string][]byte{Archive: c.archive}, Options{})
			remote.cut = c.cut
			tree, err := f.Find()
			if err == nil || !strings.Contains(err.Error(), c.message) {
				t.Fatalf("%v, %v", tree, err)
			}
			if left := leftovers(t); len(left) > 0 || isDir(stored(f.ID())) {
				t.Errorf("left behind: %v, %v", left, isDir(stored(f.ID())))
			}
			f, _ = finder(t, map[string][]byte{Archive: good}, Options{})
			if _, err := f.Find(); err != nil {
				t.Errorf("the next time: %v", err)
			}
		})
	}
}

// A link inside of the archive is kept.
func TestInnerLink(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	a := archived(t, sources(board.Release, "CONFIG_ARM64"), &tar.Header{Name: "include/asm/k.h", Linkname: "../linux/kconfig.h", Typeflag: tar.TypeSymlink})
	f, _ := finder(t, map[string][]byte{Archive: a}, Options{})
	tree, err := f.Find()
	if err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(tree.Build + "/include/asm/k.h"); err != nil || string(b) != "/* kconfig */\n" {
		t.Errorf("%q, %v", b, err)
	}
}

func TestParallel(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	a := archived(t, sources(board.Release, "CONFIG_ARM64"))
	var unpacked sync.Map
	var wg sync.WaitGroup
	for i := range 8 {
		f, remote := finder(t, map[string][]byte{Archive: a}, Options{})
		wg.Go(func() {
			if _, err := f.Find(); err != nil {
				t.Error(err)
			}
			if remote.reads > 0 {
				unpacked.Store(i, true)
			}
		})
	}
	wg.Wait()
	n := 0
	unpacked.Range(func(any, any) bool { n++; return true })
	if n != 1 {
		t.Errorf("the archive was transferred %d times", n)
	}
}

func TestCacheUnusable(t *testing.T) {
	a := archived(t, sources(board.Release, "CONFIG_ARM64"))
	home := t.TempDir()
	if err := os.WriteFile(home+"/bpfd", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("XDG_CACHE_HOME", home)
	f, _ := finder(t, map[string][]byte{Archive: a}, Options{})
	if _, err := f.Find(); err == nil || !strings.Contains(err.Error(), "XDG_CACHE_HOME") || !strings.Contains(err.Error(), "not a directory") {
		t.Errorf("%v", err)
	}
}

func TestDiskFull(t *testing.T) {
	home := t.TempDir()
	if err := unix.Mount("tmpfs", home, "tmpfs", 0, "size=512k"); err != nil {
		t.Skipf("a small file system cannot be mounted here: %v", err)
	}
	defer unix.Unmount(home, unix.MNT_DETACH)
	t.Setenv("XDG_CACHE_HOME", home)
	f, _ := finder(t, map[string][]byte{Archive: large(t)}, Options{})
	_, err := f.Find()
	if err == nil || !strings.Contains(err.Error(), "no space left") || !strings.Contains(err.Error(), home) {
		t.Errorf("%v", err)
	}
	if left := leftovers(t); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// What a process that was killed has left is not taken for headers.
func TestInterrupted(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	f, _ := finder(t, map[string][]byte{Archive: archived(t, sources(board.Release, "CONFIG_ARM64"))}, Options{})
	if err := os.MkdirAll(stored(".new-"+f.ID())+"/tree/include", 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Find(); err != nil {
		t.Error(err)
	}
	if left := leftovers(t); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestNamed(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	whole := sources(board.Release, "CONFIG_ARM64")
	source := written(t, map[string]string{kconfig: ""})
	half := func(makefile string) map[string]string {
		return map[string]string{utsrelease: whole[utsrelease], autoconf: whole[autoconf], "Makefile": makefile}
	}
	linked := written(t, half(""))
	if err := os.Symlink(source, linked+"/source"); err != nil {
		t.Fatal(err)
	}
	incomplete := written(t, map[string]string{utsrelease: whole[utsrelease], kconfig: ""})
	for _, c := range []struct {
		name, dir, message string
		any                bool
	}{
		{"merged", written(t, sources(board.Release, "CONFIG_ARM64")), "", false},
		{"Makefile names the source", written(t, half("include "+source+"/Makefile\n")), "", false},
		{"linked", linked, "", false},
		{"half", written(t, half("")), "one half", false},
		{"source only", source, "no headers of a built kernel", false},
		{"not there", source + "/nowhere", "no such file", false},
		{"incomplete", incomplete, "autoconf.h is missing", false},
		{"other release", written(t, sources("6.1.0", "CONFIG_ARM64")), "release 6.1.0, but", false},
		{"other architecture", written(t, sources(board.Release, "CONFIG_X86_64")), "architecture amd64, but", false},
		{"other, wanted", written(t, sources("6.1.0", "CONFIG_X86_64")), "", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			// The target's own are not taken instead.
			f, _ := finder(t, map[string][]byte{Archive: nil}, Options{Dir: c.dir, Any: c.any})
			tree, err := f.Find()
			if c.message == "" && (err != nil || tree.Build != c.dir || !exists(tree.Source, kconfig)) {
				t.Errorf("%v, %v", tree, err)
			}
			if c.message != "" && (err == nil || !strings.Contains(err.Error(), c.message)) {
				t.Errorf("%v, %v", tree, err)
			}
		})
	}
}

func TestNone(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	f, _ := finder(t, nil, Options{})
	if _, err := f.Find(); f.Available() || !errors.Is(err, ErrNone) {
		t.Errorf("%v, %v", f.Available(), err)
	}
}

// Debian's halves, with the links between them.
func TestMerge(t *testing.T) {
	arch := written(t, map[string]string{utsrelease: "arch", "Makefile": "include ../common/Makefile"})
	common := written(t, map[string]string{kconfig: "common", utsrelease: "common", "include/uapi/k.h": "k", "Makefile": "all:"})
	for _, l := range [][2]string{{arch + "/scripts", "../../lib/linux-kbuild-6.1/scripts"}, {arch + "/include/linux", common + "/include/linux"},
		{common + "/include/linux/k.h", "../uapi/k.h"}} {
		if err := os.Symlink(l[1], l[0]); err != nil {
			t.Fatal(err)
		}
	}
	dir := filepath.Join(t.TempDir(), "merged")
	if err := merge(dir, arch, common); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{utsrelease: "arch", kconfig: "common", "include/linux/k.h": "k", "Makefile": "include ../common/Makefile"} {
		if b, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(b) != want {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
	if _, err := os.Lstat(dir + "/scripts"); err == nil {
		t.Error("a link that leads out was kept")
	}
}
