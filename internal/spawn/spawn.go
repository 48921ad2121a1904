// Package spawn starts a tool in its own namespaces, under the filter, with
// the target's files mounted over its own.
//
// The tool's first ancestor, the init of its pid namespace, is this very
// program again (Stage). It mounts the file system that the supervisor serves,
// enters the time namespace, forks with the pid that the supervisor chose,
// installs the filter in the child and executes the tool there.
package spawn

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// StageName as argv[0] makes this program run Stage.
const StageName = "bpfctl-init"

// Mount is a mount that the stage makes, in the tool's mount namespace.
type Mount struct {
	Source, Target string
	ReadOnly       bool
}

// Config says how to start a tool.
type Config struct {
	Path string   // of the program: with a slash, or a name to look up in PATH
	Args []string // with argv[0]
	Env  []string
	Dir  string

	Filter      []bpf.RawInstruction
	PID         int   // the tool's in its own pid namespace; 0: any
	Monotonic   int64 // nanoseconds to add to CLOCK_MONOTONIC
	Boottime    int64 // and to CLOCK_BOOTTIME
	FuseOptions string
	// Local is where in the mounted tree the tool's own procfs goes.
	Local string
	// Scratch is an empty directory to mount things in.
	Scratch string
	// Mounts are made after the tree is there: binds of files of it or of the host.
	Mounts []Mount
	// User maps the caller to root in a user namespace.
	User bool
	// Foreground gives the tool a process group of its own and the terminal,
	// if the caller has one. A shell with job control asks for its group,
	// which has no number where the leader is outside of its pid namespace.
	Foreground bool
}

// Tool is a tool that was started.
type Tool struct {
	Listener int      // of the filter
	Fuse     *os.File // to be served
	Procfs   *os.File // the tool's own procfs
	PID      int      // of the init, in our namespace

	cmd *exec.Cmd
	ctl *channel

	foreground bool // the tool has the terminal

	sending sync.WaitGroup // messages on their way, which ctl outlives

	mu    sync.Mutex // protects following
	opens map[uint32]chan opened
	next  uint32
	gone  bool
}

// opened is the answer to Open.
type opened struct {
	fd  int
	err error
}

// Error is a failure to start the tool which is the tool's own.
type Error struct {
	Status int // 126: not executable, 127: not found
	Msg    string
}

func (e *Error) Error() string { return e.Msg }

// Start starts the init and receives the file system to serve. The tool waits
// until Exec. The calling goroutine must stay on its thread until Wait: the
// kernel kills the init when the thread that started it ends.
func Start(c *Config) (*Tool, error) {
	runtime.LockOSThread()
	ours, theirs, err := socketpair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	c.Foreground = c.Foreground && inForeground()
	t := &Tool{ctl: &channel{f: ours}, foreground: c.Foreground}
	t.cmd = &exec.Cmd{
		Path: "/proc/self/exe", Args: []string{StageName},
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		ExtraFiles: []*os.File{theirs}, Env: c.Env,
		SysProcAttr: attributes(c.User),
	}
	if err := t.cmd.Start(); err != nil {
		ours.Close()
		return nil, explainNamespaces(err)
	}
	t.PID = t.cmd.Process.Pid
	if err := t.mount(c); err != nil {
		t.Kill()
		return nil, err
	}
	return t, nil
}

func socketpair() (ours, theirs *os.File, err error) {
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	return os.NewFile(uintptr(p[0]), "init"), os.NewFile(uintptr(p[1]), "bpfctl"), nil
}

func attributes(user bool) *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID,
		Pdeathsig:  syscall.SIGKILL,
	}
	if user {
		a.Cloneflags |= unix.CLONE_NEWUSER
		a.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		a.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	return a
}

// explainNamespaces names what forbids namespaces and how to allow them.
func explainNamespaces(err error) error {
	for _, k := range []struct{ kind, file, bad, allow string }{
		{"user", "/proc/sys/user/max_user_namespaces", "0", "sysctl user.max_user_namespaces=10000"},
		{"mount", "/proc/sys/user/max_mnt_namespaces", "0", "sysctl user.max_mnt_namespaces=10000"},
		{"pid", "/proc/sys/user/max_pid_namespaces", "0", "sysctl user.max_pid_namespaces=10000"},
		{"user", "/proc/sys/kernel/unprivileged_userns_clone", "0", "sysctl kernel.unprivileged_userns_clone=1"},
		{"user", "/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1", "sysctl kernel.apparmor_restrict_unprivileged_userns=0"},
	} {
		if setting(k.file) == k.bad {
			return fmt.Errorf("this host does not allow %s namespaces (%s is %s); allow them as root with: %s", k.kind, k.file, k.bad, k.allow)
		}
	}
	if errors.Is(err, unix.ENOSPC) { // a limit, and not of a disk: user_namespaces(7)
		var limits []string
		for _, kind := range []string{"user", "mnt", "pid"} {
			name := "max_" + kind + "_namespaces"
			limits = append(limits, "user."+name+"="+setting("/proc/sys/user/"+name))
		}
		return fmt.Errorf("this host allows no more namespaces (%s); raise that limit as root with sysctl", strings.Join(limits, ", "))
	}
	return fmt.Errorf("cannot make namespaces: %w", err)
}

// setting is what a file below /proc/sys holds.
func setting(path string) string {
	b, _ := os.ReadFile(path)
	return strings.TrimSpace(string(b))
}

// mount sends the configuration and receives what the stage has mounted.
func (t *Tool) mount(c *Config) error {
	b, err := json.Marshal(c)
	if err != nil {
		return err
	}
	if err := t.ctl.sendLong(b); err != nil {
		return err
	}
	fds, err := t.ctl.expect(msgMounted)
	if err != nil {
		return err
	}
	if len(fds) != 2 {
		return fmt.Errorf("the init sent %d descriptors", len(fds))
	}
	t.Fuse = os.NewFile(uintptr(fds[0]), "/dev/fuse")
	t.Procfs = os.NewFile(uintptr(fds[1]), "proc")
	return nil
}

// Exec has the tool executed; the file system must be served by now. The
// tool's calls arrive at Listener from here on.
func (t *Tool) Exec() error {
	if err := t.ctl.send(msgGo, nil); err != nil {
		return err
	}
	fds, err := t.ctl.expect(msgListener)
	if err != nil {
		return err
	}
	if len(fds) != 1 {
		return fmt.Errorf("the init sent %d descriptors", len(fds))
	}
	t.Listener = fds[0]
	return nil
}

// Started waits until the tool's program runs, or failed to.
func (t *Tool) Started() error {
	_, err := t.ctl.expect(msgStarted)
	return err
}

// Event is what the init reports while the tool runs.
type Event struct {
	Exited  bool
	Status  syscall.WaitStatus // with Exited
	Stopped bool               // the tool was stopped, with the terminal: see Suspend
	Signal  syscall.Signal     // else: a signal that the whole process group got
}

// Next waits for the next event. io.EOF: the init is gone.
func (t *Tool) Next() (Event, error) {
	kind, body, fds, err := t.ctl.receive()
	for ; err == nil && kind == msgOpened && len(body) == 8; kind, body, fds, err = t.ctl.receive() {
		t.opened(le.Uint32(body), unix.Errno(le.Uint32(body[4:])), fds)
	}
	if err != nil {
		t.endOpens()
		return Event{}, io.EOF
	}
	switch {
	case kind == msgExited && len(body) == 4:
		return Event{Exited: true, Status: syscall.WaitStatus(le.Uint32(body))}, nil
	case kind == msgStopped:
		return Event{Stopped: true}, nil
	case kind == msgSignal && len(body) == 4:
		return Event{Signal: syscall.Signal(le.Uint32(body))}, nil
	}
	return Event{}, fmt.Errorf("unexpected message %d from the init", kind)
}

// Open has the init open a file of the mounted tree, for reading and writing:
// this process serves the tree and must not wait for itself. Somebody must be
// in Next meanwhile.
func (t *Tool) Open(path string) (int, error) {
	answer := make(chan opened, 1)
	t.mu.Lock()
	if t.gone {
		t.mu.Unlock()
		return -1, errGone
	}
	t.next++
	id := t.next
	if t.opens == nil {
		t.opens = make(map[uint32]chan opened)
	}
	t.opens[id] = answer
	t.mu.Unlock()
	if err := t.send(msgOpen, append(le.AppendUint32(nil, id), path...)); err != nil {
		return -1, err
	}
	a := <-answer
	return a.fd, a.err
}

// send sends the init a message, unless it is gone.
func (t *Tool) send(kind byte, body []byte) error {
	t.mu.Lock()
	if t.gone {
		t.mu.Unlock()
		return errGone
	}
	t.sending.Add(1)
	t.mu.Unlock()
	defer t.sending.Done()
	return t.ctl.send(kind, body)
}

var errGone = errors.New("the tool's init is gone")

func (t *Tool) opened(id uint32, errno unix.Errno, fds []int) {
	t.mu.Lock()
	answer := t.opens[id]
	delete(t.opens, id)
	t.mu.Unlock()
	a := opened{fd: -1, err: errno}
	if errno == 0 && len(fds) == 1 {
		a = opened{fd: fds[0]}
	}
	if answer != nil {
		answer <- a
	} else if a.err == nil {
		unix.Close(a.fd)
	}
}

// endOpens fails what waits in Open.
func (t *Tool) endOpens() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.gone = true
	for id, answer := range t.opens {
		answer <- opened{-1, errGone}
		delete(t.opens, id)
	}
}

// Signal has the init send a signal to the tool.
func (t *Tool) Signal(sig syscall.Signal) error {
	return t.send(msgSignal, le.AppendUint32(nil, uint32(sig)))
}

// End ends the init and all below it; Next then fails.
func (t *Tool) End() { t.cmd.Process.Kill() }

// Kill is End, and waits.
func (t *Tool) Kill() {
	t.endOpens()
	t.cmd.Process.Kill()
	t.cmd.Wait()
	if t.foreground {
		takeTerminal()
	}
	t.sending.Wait()
	t.ctl.f.Close()
}
