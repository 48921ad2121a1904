package load

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"bpfd/test/testenv"
)

// withPath runs bpfctl build where only some programs are found.
func withPath(t *testing.T, programs []string, args ...string) testenv.Outcome {
	t.Helper()
	dir := t.TempDir()
	for _, p := range programs {
		path, err := exec.LookPath(p)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(path, filepath.Join(dir, p)); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir)
	return run(t, append([]string{"build"}, args...)...)
}

// What is missing is named, with its package; what clang says is shown, and an
// older object stays when the new one is not made.
func TestBuildRefused(t *testing.T) {
	write := func(text string) string {
		path := filepath.Join(t.TempDir(), "prog.bpf.c")
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, c := range []struct {
		name, text string
		programs   []string
		status     int
		message    string
	}{
		{"no clang", nothing, []string{"sh"}, 125, "clang is not installed here: install the package clang"},
		{"no header", "#include <bpf/no_such.h>\n", []string{"sh", "clang"}, 125, "bpf/no_such.h is not installed here: install the package libbpf-dev"},
		{"error", "int main(void) { return undeclared; }\n", []string{"sh", "clang"}, 1, "use of undeclared identifier 'undeclared'"},
	} {
		t.Run(c.name, func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "prog.o")
			if err := os.WriteFile(out, []byte("older"), 0o644); err != nil {
				t.Fatal(err)
			}
			r := withPath(t, c.programs, write(c.text), "-o", out)
			if r.Status != c.status || !strings.Contains(r.Stderr, c.message) {
				t.Error(r)
			}
			if b, err := os.ReadFile(out); err != nil || string(b) != "older" {
				t.Errorf("the older object is %q, %v", b, err)
			}
			if list, _ := os.ReadDir(filepath.Dir(out)); len(list) != 1 {
				t.Errorf("files were left: %v", list)
			}
		})
	}
	t.Run("no BTF", func(t *testing.T) {
		r := runAt(t, hiddenBTF, "build", write("#include \"vmlinux.h\"\n"), "-o", filepath.Join(t.TempDir(), "prog.o"))
		if r.Status != 125 || !strings.Contains(r.Stderr, "the target's kernel has no BTF") || !strings.Contains(r.Stderr, "--btf FILE") {
			t.Error(r)
		}
	})
	t.Run("no source", func(t *testing.T) {
		if r := run(t, "build", "/no/such.c"); r.Status != 125 || !strings.Contains(r.Stderr, "/no/such.c: no such file") {
			t.Error(r)
		}
	})
}

// A load that is interrupted while it pins has made all or nothing; what one
// leaves that was killed, unload removes.
func TestInterrupted(t *testing.T) {
	o := compile(t, "events")
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGKILL} {
		t.Run(sig.String(), func(t *testing.T) {
			dir := strings.ReplaceAll(pinDir(t), " ", "_")
			path := filepath.Join(bpffs, dir)
			t.Cleanup(func() { os.RemoveAll(path) })
			cmd := exec.Command(bpfctl, "load", "-t", "shell:", o, "--pin", dir, "--attach")
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan struct{})
			go func() { cmd.Wait(); close(ended) }()
			for {
				if _, err := os.Stat(path); err == nil {
					cmd.Process.Signal(sig)
					break
				}
				select {
				case <-ended:
					t.Fatalf("it ended before it pinned: %v", cmd.ProcessState)
				case <-time.After(time.Millisecond):
				}
			}
			<-ended
			pins, _ := filepath.Glob(filepath.Join(path, "*/*"))
			_, err := os.Stat(path)
			whole, nothing := len(pins) == 6, os.IsNotExist(err)
			if sig != syscall.SIGKILL && (whole != (cmd.ProcessState.ExitCode() == 0) || nothing == whole) {
				t.Errorf("%v has left %v", cmd.ProcessState, pins)
			}
			if !nothing {
				must(t, "unload", dir)
			}
			if _, err := os.Stat(path); !os.IsNotExist(err) {
				t.Error("the directory is still there")
			}
		})
	}
}
