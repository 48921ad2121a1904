package supervisor

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"bpfd/internal/kernel"
	"bpfd/internal/marshal"
	"bpfd/internal/notify"
	"bpfd/internal/remotefs"
	"bpfd/internal/rpc"
	"bpfd/internal/spawn"
	"bpfd/internal/tracee"

	"golang.org/x/sys/unix"
)

// Options say what to run.
type Options struct {
	Path string // of the tool
	Args []string
	Env  []string
	Dir  string
	User bool // make a user namespace: the caller is not root
	// Foreground gives the tool the terminal, as a shell gives it to a job.
	Foreground bool

	Trace io.Writer    // every proxied call is printed here, if not nil
	Warn  func(string) // what the user should know
	// Cut ends the connection to a target that was given up: who reads it gets
	// its end.
	Cut func()
	// Absent is told of files which the tool looked for on the target in vain.
	Absent func(path string)
	// NoFunction is told of functions that the tool wanted a kprobe at and the
	// target's kernel does not have.
	NoFunction func(name string)

	Headers remotefs.Headers // of the target's kernel
	BTF     []byte           // stands in for that of a target which has none, if not nil
	// Registers has programs that were compiled for this machine find arguments
	// and results where the target's calling convention has them. ShownBTF is
	// then what they are shown of the target's own type information.
	Registers bool
	ShownBTF  func(own []byte) []byte
}

// Supervisor answers the calls of one tool and its descendants.
type Supervisor struct {
	target    *rpc.Client
	opts      Options
	tool      *spawn.Tool
	listener  *notify.Listener
	objects   *registry
	rings     *rings
	arrays    *arrays
	marshal   *marshal.Marshaller
	kernel    *kernel.Kernel
	fs        *remotefs.FS
	triggers  triggers
	programs  programs
	userRings *userRings
	walks     map[*object]bool // with a walk; only the thread that receives calls uses it, and the next one
	reading   walkCall
	runs      atomic.Uint64 // how often the tool had a program run
	warned    sync.Map      // messages that were given
	traceMu   sync.Mutex    // held while writing to opts.Trace
	running   sync.WaitGroup
	signals   chan os.Signal // those that this process gets
	patience  patience
}

// Run runs a tool against a target and returns its exit status, 128+N if a
// signal ended it. The caller closes target.
func Run(target *rpc.Client, opts Options) (status int, err error) {
	s := &Supervisor{target: target, opts: opts, walks: make(map[*object]bool), kernel: kernel.New(target),
		signals: make(chan os.Signal, 16)}
	if s.objects, err = newRegistry(target); err != nil {
		return 0, err
	}
	s.rings = newRings(s.objects, target)
	s.arrays = newArrays(target)
	s.userRings = newUserRings(target)
	s.objects.removed = s.userRings.remove
	s.marshal = s.newMarshaller()
	// The tool may run before the rest is ready: no signal is to be missed then.
	spawn.Notify(s.signals)
	defer signal.Stop(s.signals)
	if err := s.start(); err != nil {
		return 0, err
	}
	return s.serve()
}

// start brings the tool to where its program begins.
func (s *Supervisor) start() error {
	scratch, err := spawn.Scratch()
	if err != nil {
		return err
	}
	defer os.Remove(scratch)
	c, err := s.config(scratch)
	if err != nil {
		return err
	}
	if s.tool, err = spawn.Start(c); err != nil {
		return err
	}
	if s.fs, err = s.serveFiles(); err != nil {
		s.tool.Kill()
		return err
	}
	if err := s.tool.Exec(); err != nil {
		s.stop()
		return err
	}
	s.listener = notify.NewListener(s.tool.Listener)
	return nil
}

func (s *Supervisor) config(scratch string) (*spawn.Config, error) {
	filter, err := notify.Filter(traps())
	if err != nil {
		return nil, err
	}
	i := &s.target.Welcome.Info
	return &spawn.Config{
		Path: s.opts.Path, Args: s.opts.Args, Env: s.opts.Env, Dir: s.opts.Dir,
		Filter: filter, PID: int(i.Pid), User: s.opts.User, Foreground: s.opts.Foreground, Scratch: scratch,
		Monotonic: shift(i.Monotonic, unix.CLOCK_MONOTONIC), Boottime: shift(i.Boottime, unix.CLOCK_BOOTTIME),
		FuseOptions: remotefs.MountOptions(!s.opts.User), Local: remotefs.LocalPath,
	}, nil
}

// sameClock is how far apart two clocks are at most that are taken for one:
// the target's were read some time ago.
const sameClock = 2 * time.Second

// shift is what to add to a clock of ours to get the target's.
func shift(target int64, clock int32) int64 {
	var t unix.Timespec
	unix.ClockGettime(clock, &t)
	d := target - t.Nano()
	if d > -int64(sameClock) && d < int64(sameClock) {
		return 0
	}
	return d
}

// stop ends what is left of the tool and unmounts its files.
func (s *Supervisor) stop() {
	s.tool.Kill()
	if s.fs != nil {
		s.fs.Close()
	}
}

// serve answers calls until the tool has ended.
func (s *Supervisor) serve() (int, error) {
	stop := make(chan struct{})
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		s.stop()
		return 0, err
	}
	s.spawn(func() { s.objects.watchCloses(wake) })
	s.spawn(func() { s.rings.run(stop) })
	s.spawn(func() { s.arrays.run(stop) })
	s.spawn(func() { s.userRings.run(stop) })
	s.spawn(s.loop)
	s.spawn(func() { s.watchTarget(stop) })
	status, err := s.wait(stop)
	s.tool.Kill()
	s.fs.Close()
	close(stop)
	unix.Write(wake, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	s.running.Wait()
	unix.Close(wake)
	s.listener.Close()
	return status, err
}

// lostGrace is how long a tool may take to end by itself when the target is
// gone: its calls fail with EIO, but it may make none.
const lostGrace = 2 * time.Second

// watchTarget ends the tool when the target is gone.
func (s *Supervisor) watchTarget(stop <-chan struct{}) {
	select {
	case <-stop:
		return
	case <-s.target.Dead():
	}
	s.objects.wakeAll()
	select {
	case <-stop:
	case <-time.After(lostGrace):
		s.tool.End()
	}
}

func (s *Supervisor) spawn(f func()) {
	s.running.Add(1)
	go func() {
		defer s.running.Done()
		f()
	}()
}

// wait passes signals on until the tool has ended.
func (s *Supervisor) wait(stop <-chan struct{}) (int, error) {
	group := make(chan syscall.Signal, 16)
	s.spawn(func() { s.forward(group, stop) })
	if err := s.tool.Started(); err != nil {
		return 0, err
	}
	for {
		ev, err := s.tool.Next()
		switch {
		case err != nil:
			if e := s.target.Err(); e != nil {
				return 0, e
			}
			return 0, errors.New("the tool's init was killed")
		case ev.Stopped:
			if err := s.tool.Suspend(); err != nil {
				return 0, err
			}
		case ev.Signal != 0:
			select {
			case group <- ev.Signal:
			default:
			}
		case ev.Status.Signaled():
			return 128 + int(ev.Status.Signal()), s.target.Err()
		default:
			return ev.Status.ExitStatus(), s.target.Err()
		}
	}
}

// groupDelay is how long the init has to report that a signal went to the
// whole process group, and so to the tool as well.
const groupDelay = 50 * time.Millisecond

// forward passes on the signals that were sent to this process alone.
func (s *Supervisor) forward(group <-chan syscall.Signal, stop <-chan struct{}) {
	for {
		var sig syscall.Signal
		select {
		case <-stop:
			return
		case <-group: // the init heard of it first
			s.signalled(stop)
			select {
			case <-s.signals:
			case <-time.After(groupDelay):
			}
			continue
		case got := <-s.signals:
			sig = got.(syscall.Signal)
			s.signalled(stop)
		}
		select {
		case <-group:
		case <-stop:
			return
		case <-time.After(groupDelay):
			s.tool.Signal(sig)
		}
	}
}

// loop receives calls on one thread and answers those that are short on it:
// handing them to another thread would take longer than the call.
func (s *Supervisor) loop() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var near tracee.Descriptors
	defer near.Close()
	r := &request{}
	for {
		ok, err := s.listener.Receive(&r.Call)
		if err != nil {
			s.opts.Warn(fmt.Sprintf("cannot receive the tool's system calls: %v", err))
		}
		if !ok || err != nil {
			return
		}
		r.thread, r.near = tracee.Thread(r.TID), &near
		row := trapTable[r.Nr]
		if row == nil {
			s.listener.Continue(r.ID)
			continue
		}
		if r.Nr == unix.SYS_BPF {
			if a, ok := s.walk(r); ok { // concerns nobody else
				s.reply(r, a)
				continue
			}
		}
		if row.slow != nil && row.slow(r) {
			slow := r
			slow.near = nil
			s.spawn(func() { s.answer(row, slow) })
			r = &request{}
			continue
		}
		s.answer(row, r)
	}
}

// answer handles one call.
func (s *Supervisor) answer(row *trap, r *request) {
	s.objects.drain()
	s.reply(r, row.handle(s, r))
}

func (s *Supervisor) reply(r *request, a answer) {
	var err error
	if a.cont {
		err = s.listener.Continue(r.ID)
	} else {
		err = s.listener.Return(r.ID, a.val, a.errno)
	}
	if err != nil {
		s.opts.Warn(err.Error())
	}
}

// catchUp tells the target what the tool has done without a call that leads
// there: it has closed descriptors and written into its mappings.
func (s *Supervisor) catchUp() {
	s.objects.drain()
	s.userRings.flush()
	s.arrays.flush(false)
}

// placeholder makes what stands for o: a file that reads from the target if the
// tool may read, else a memfd.
func (s *Supervisor) placeholder(o *object) (int, error) {
	if !o.Readable {
		return s.objects.create(o)
	}
	fd, err := s.tool.Open(fmt.Sprint(remotefs.PlaceholderDir, o.Handle))
	if err != nil {
		return -1, fmt.Errorf("cannot open a placeholder: %w", err)
	}
	if err := s.objects.adopt(o, fd); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// place gives the tool a descriptor that stands for o.
func (s *Supervisor) place(r *request, o *object, cloexec bool) answer {
	fd, err := s.placeholder(o)
	if err != nil {
		s.drop(o.Handle)
		s.opts.Warn(err.Error())
		return fail(unix.ENOMEM)
	}
	defer unix.Close(fd)
	n, err := s.listener.AddFD(r.ID, fd, cloexec)
	if err != nil {
		return fail(unix.EMFILE)
	}
	return value(int64(n))
}
