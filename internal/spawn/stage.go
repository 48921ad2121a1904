package spawn

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Stage is the init of the tool's namespaces; it returns the exit status of
// this process. Its descriptor 3 leads to the supervisor.
func Stage() int {
	runtime.LockOSThread()
	unix.CloseOnExec(3)
	s := &stage{ctl: &channel{f: os.NewFile(3, "bpfctl")}}
	if err := s.run(); err != nil {
		e := &Error{Status: 125, Msg: err.Error()}
		errors.As(err, &e)
		b, _ := json.Marshal(e)
		s.ctl.send(msgFailed, b)
		return 125
	}
	return 0
}

type stage struct {
	ctl *channel
	c   Config
}

func (s *stage) run() error {
	if err := s.configure(); err != nil {
		return err
	}
	if err := s.mount(); err != nil {
		return err
	}
	if _, err := s.ctl.expect(msgGo); err != nil {
		return err
	}
	if err := s.cover(); err != nil {
		return err
	}
	if err := s.shiftClocks(); err != nil {
		return err
	}
	path, err := lookPath(s.c.Path)
	if err != nil {
		return err
	}
	// From here on, signals that the whole process group gets are reported:
	// the supervisor passes on those only which it got alone.
	signals := make(chan os.Signal, 16)
	Notify(signals)
	pid, err := s.fork(path)
	if err != nil {
		return err
	}
	if err := s.ctl.send(msgStarted, nil); err != nil {
		return err
	}
	go s.relay(pid)
	go s.report(signals)
	return s.reap(pid)
}

func (s *stage) configure() error {
	var b []byte
	for {
		kind, body, _, err := s.ctl.receive()
		if err != nil || kind != msgConfig {
			return fmt.Errorf("no configuration: %w", err)
		}
		if len(body) == 0 {
			return json.Unmarshal(b, &s.c)
		}
		b = append(b, body...)
	}
}

// tree and procfs are where the file system of the target and the tool's own
// procfs are mounted first, below Scratch.
func (s *stage) tree() string   { return s.c.Scratch + "/target" }
func (s *stage) procfs() string { return s.c.Scratch + "/proc" }

// mount makes the mounts that need no supervisor yet.
func (s *stage) mount() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("cannot make mounts private: %w", err)
	}
	if err := unix.Mount("tmpfs", s.c.Scratch, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755"); err != nil {
		return fmt.Errorf("cannot mount a tmpfs on %s: %w", s.c.Scratch, err)
	}
	for _, dir := range []string{s.tree(), s.procfs()} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
	}
	if err := unix.Mount("proc", s.procfs(), "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("cannot mount a procfs: %w (in a container, give it an unmasked /proc)", err)
	}
	proc, err := os.Open(s.procfs())
	if err != nil {
		return err
	}
	defer proc.Close()
	fuse, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		return explainFuse(err)
	}
	defer fuse.Close()
	data := fmt.Sprintf("fd=%d,%s", fuse.Fd(), s.c.FuseOptions)
	if err := unix.Mount("bpfd", s.tree(), "fuse.bpfd", unix.MS_NOSUID|unix.MS_NODEV, data); err != nil {
		return fmt.Errorf("cannot mount a FUSE file system: %w", err)
	}
	return s.ctl.send(msgMounted, nil, int(fuse.Fd()), int(proc.Fd()))
}

func explainFuse(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		return fmt.Errorf("this host has no /dev/fuse; as root: modprobe fuse")
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("this host does not let you open /dev/fuse; as root: chmod 666 /dev/fuse")
	}
	return err
}

// cover mounts the target's files over the host's.
func (s *stage) cover() error {
	mounts := append([]Mount{
		{Source: s.tree() + "/proc", Target: "/proc"},
		{Source: s.tree() + "/sys", Target: "/sys"},
	}, s.c.Mounts...)
	if there, err := s.modules(); err != nil {
		return err
	} else if there {
		mounts = append(mounts, Mount{Source: s.tree() + "/modules", Target: modules})
	}
	for _, m := range mounts {
		if err := unix.Mount(m.Source, m.Target, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return fmt.Errorf("cannot mount %s on %s: %w", m.Source, m.Target, err)
		}
		if m.ReadOnly {
			if err := unix.Mount("", m.Target, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
				return fmt.Errorf("cannot make %s read-only: %w", m.Target, err)
			}
		}
	}
	if err := unix.Mount(s.procfs(), s.c.Local, "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("cannot move the procfs to %s: %w", s.c.Local, err)
	}
	return os.Chdir(s.c.Dir)
}

// modules is where tools look for kernel headers.
const modules = "/lib/modules"

// modules makes the directory to mount on where this host has none, in the
// tool's mount namespace only. False: a host without /lib.
func (s *stage) modules() (bool, error) {
	if _, err := os.Stat(modules); err == nil {
		return true, nil
	}
	lib, err := filepath.EvalSymlinks(filepath.Dir(modules))
	if err != nil {
		return false, nil
	}
	extra := s.c.Scratch + "/lib"
	if err := os.MkdirAll(extra+"/modules", 0o755); err != nil {
		return false, err
	}
	if err := unix.Mount("overlay", lib, "overlay", unix.MS_RDONLY, "lowerdir="+extra+":"+lib); err != nil {
		return false, fmt.Errorf("this host has no %s, and none can be feigned: %w; as root: mkdir %s", modules, err, modules)
	}
	return true, nil
}

// shiftClocks makes CLOCK_MONOTONIC and CLOCK_BOOTTIME the target's, for the
// processes that this one forks (time_namespaces(7)).
func (s *stage) shiftClocks() error {
	if s.c.Monotonic == 0 && s.c.Boottime == 0 {
		return nil
	}
	if err := unix.Unshare(unix.CLONE_NEWTIME); err != nil {
		if err == unix.EINVAL {
			return nil // a host kernel before 5.6, or without CONFIG_TIME_NS
		}
		return fmt.Errorf("cannot make a time namespace: %w", err)
	}
	offsets := offset(unix.CLOCK_MONOTONIC, s.c.Monotonic) + offset(unix.CLOCK_BOOTTIME, s.c.Boottime)
	// The namespace is this thread's, which need not be the main thread.
	path := fmt.Sprintf("%s/%d/timens_offsets", s.c.Local, unix.Gettid())
	if err := os.WriteFile(path, []byte(offsets), 0); err != nil {
		return fmt.Errorf("cannot set the clocks of the time namespace: %w", err)
	}
	return nil
}

// offset is a line of timens_offsets; its nanoseconds are not negative.
func offset(clock int, ns int64) string {
	sec, rest := ns/1e9, ns%1e9
	if rest < 0 {
		sec, rest = sec-1, rest+1e9
	}
	return fmt.Sprintf("%d %d %d\n", clock, sec, rest)
}

// lookPath finds the tool as a shell would, with a shell's exit statuses.
func lookPath(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err == nil || errors.Is(err, exec.ErrDot) {
		return path, nil
	}
	if strings.Contains(name, "/") {
		if _, err := os.Stat(name); err == nil {
			return "", &Error{126, fmt.Sprintf("%s: not executable", name)}
		} else if errors.Is(err, fs.ErrPermission) {
			return "", &Error{126, fmt.Sprintf("%s: permission denied", name)}
		}
		return "", &Error{127, fmt.Sprintf("%s: no such file", name)}
	}
	return "", &Error{127, fmt.Sprintf("%s: not found; is it installed on this host? (PATH is %s)", name, os.Getenv("PATH"))}
}

// relay sends the tool the signals that the supervisor passes on, opens files
// for it, and ends everything when the supervisor is gone.
func (s *stage) relay(pid int) {
	for {
		kind, body, _, err := s.ctl.receive()
		if err != nil {
			unix.Kill(-1, unix.SIGKILL)
			os.Exit(125)
		}
		switch {
		case kind == msgSignal && len(body) == 4:
			unix.Kill(pid, unix.Signal(le.Uint32(body)))
		case kind == msgContinue && len(body) == 1:
			if body[0] == 1 {
				giveTerminal(pid)
			}
			unix.Kill(-pid, unix.SIGCONT)
		case kind == msgOpen && len(body) > 4:
			s.open(le.Uint32(body), string(body[4:]))
		}
	}
}

// open opens a file of the tree for the supervisor, which cannot: it serves it.
func (s *stage) open(id uint32, path string) {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	answer := le.AppendUint32(nil, id)
	if err != nil {
		e, _ := err.(unix.Errno)
		s.ctl.send(msgOpened, le.AppendUint32(answer, uint32(e)))
		return
	}
	defer unix.Close(fd)
	s.ctl.send(msgOpened, le.AppendUint32(answer, 0), fd)
}

func (s *stage) report(signals <-chan os.Signal) {
	for sig := range signals {
		s.ctl.send(msgSignal, le.AppendUint32(nil, uint32(sig.(syscall.Signal))))
	}
}

// reap waits for the tool and for the orphans it leaves. It ends when the
// supervisor closes the channel.
func (s *stage) reap(tool int) error {
	options := 0
	if s.c.Foreground { // else the tool is in the supervisor's group, and stops with it
		options = unix.WUNTRACED
	}
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, options, nil)
		switch {
		case err == unix.EINTR:
		case err == unix.ECHILD:
			select {}
		case err != nil:
			return err
		case pid == tool && (status.Exited() || status.Signaled()):
			if err := s.ctl.send(msgExited, le.AppendUint32(nil, uint32(status))); err != nil {
				return err
			}
		case pid == tool && status.Stopped():
			if err := s.ctl.send(msgStopped, nil); err != nil {
				return err
			}
		}
	}
}

// Scratch returns an existing directory to mount things on.
func Scratch() (string, error) {
	dir := os.Getenv("XDG_RUNTIME_DIR")
	if dir == "" {
		dir = os.TempDir()
	}
	return os.MkdirTemp(dir, "bpfctl-")
}
