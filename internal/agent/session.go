// Package agent is bpfd: it runs a host's requests on the target, owns the
// descriptors that they make, and streams ring buffers. It knows no bpf
// commands: a request says which bytes go where.
package agent

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"syscall"

	"bpfd/internal/sys"
	"bpfd/internal/wire"

	"golang.org/x/sys/unix"
)

// slowCalls bounds the requests that run beside the main thread, but for those
// which wait for a file.
const slowCalls = 256

// Options of a session.
type Options struct {
	Software string // name and version for users to read
}

// session is one host's connection and all that it made here.
type session struct {
	in      io.Reader
	out     int
	wmu     sync.Mutex // held while writing a frame
	wbuf    []byte     // guarded by wmu
	opts    Options
	fds     *fdTable
	serving sync.Mutex // held while the main thread serves a request
	slow    chan struct{}
	running sync.WaitGroup
	cancels cancelTable
	streams *streamTable
	memory  memoryTable
	files   pathTable
	traces  journal

	released sync.Once
}

// Serve speaks the binary protocol until in ends, and then releases all that
// the session made. first holds what was read from in already. It must run on
// the main thread, where uprobes on the tool's own functions are triggered.
func Serve(in, out int, first []byte, opts Options) error {
	input := bufio.NewReaderSize(io.MultiReader(bytes.NewReader(first), sys.NewReader(in)), 64<<10)
	// Before Linux 5.11 maps and programs count as locked memory. Tools lift the
	// limit, which they do in their own process.
	unix.Setrlimit(unix.RLIMIT_MEMLOCK, &unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY})
	s := newSession(input, out, opts)
	defer s.endOnSignal()()
	defer s.release()
	if err := s.greet(); err != nil {
		return err
	}
	return s.loop()
}

func newSession(in io.Reader, out int, opts Options) *session {
	s := &session{in: in, out: out, opts: opts, fds: newFDTable(), slow: make(chan struct{}, slowCalls)}
	s.streams = newStreamTable(s)
	s.fds.onClose = []func(wire.Handle){s.streams.closeHandle, s.memory.close, s.files.close}
	return s
}

// endOnSignal ends the session and the process when that is asked to end, also
// if a read of the input does not. It returns what stops it.
func (s *session) endOnSignal() (stop func()) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGTERM, unix.SIGINT, unix.SIGHUP)
	done := make(chan struct{})
	go func() {
		select {
		case sig := <-signals:
			s.serving.Lock()
			s.release()
			os.Exit(128 + int(sig.(syscall.Signal)))
		case <-done:
		}
	}()
	return func() {
		signal.Stop(signals)
		close(done)
	}
}

// release ends what runs and drops what the session holds, once.
func (s *session) release() {
	s.released.Do(func() {
		s.cancels.cancelAll()
		s.streams.closeAll()
		s.running.Wait()
		s.memory.closeAll()
		s.fds.closeAll()
		s.traces.undo()
	})
}

func (s *session) greet() error {
	magic := make([]byte, len(wire.Magic))
	if _, err := io.ReadFull(s.in, magic); err != nil {
		return err
	}
	if string(magic) != wire.Magic {
		return fmt.Errorf("the peer does not speak bpfd's protocol")
	}
	h, body, err := s.frame()
	if err != nil {
		return err
	}
	var hello wire.Hello
	if h.Type != wire.TypeHello {
		return fmt.Errorf("expected a hello, got a frame of type %d", h.Type)
	}
	if err := hello.Decode(body); err != nil {
		return fmt.Errorf("hello: %w", err)
	}
	// The version is the host's to judge: it has somebody to tell.
	w := wire.Welcome{Version: wire.Version, Software: s.opts.Software, Info: info()}
	// crypto/rand would bring half of cryptography into the daemon.
	unix.Getrandom(w.Session[:], 0)
	return s.write(wire.AppendFrame([]byte(wire.Magic), wire.TypeWelcome, 0, &w))
}

// frame reads the next frame into memory of its own: requests outlive it.
func (s *session) frame() (wire.Header, []byte, error) {
	var hb [wire.HeaderSize]byte
	if _, err := io.ReadFull(s.in, hb[:]); err != nil {
		return wire.Header{}, nil, err
	}
	h, err := wire.ParseHeader(hb[:])
	if err != nil {
		return h, nil, err
	}
	body := make([]byte, h.Len)
	_, err = io.ReadFull(s.in, body)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return h, body, err
}

// loop serves requests until the input ends.
func (s *session) loop() error {
	for {
		h, body, err := s.frame()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		s.serving.Lock()
		err = s.serve(h, body)
		s.serving.Unlock()
		if err != nil {
			return err
		}
	}
}

// serve runs one request, beside the main thread if it may take long.
func (s *session) serve(h wire.Header, body []byte) error {
	row, ok := requests[h.Type]
	if !ok {
		return fmt.Errorf("frame type %d is no request", h.Type)
	}
	req := row.body()
	if err := req.Decode(body); err != nil {
		return fmt.Errorf("request of type %d: %w", h.Type, err)
	}
	if !row.slow(req) {
		return s.reply(h.ID, row.run(s, h.ID, req))
	}
	if h.Type == wire.TypeRead {
		s.cancels.add(h.ID)
	}
	s.slow <- struct{}{}
	s.running.Add(1)
	go func() {
		defer s.running.Done()
		// A reply that cannot be sent means that the input is about to end.
		s.reply(h.ID, row.run(s, h.ID, req))
		<-s.slow
	}()
	return nil
}

func (s *session) reply(id uint32, m wire.Message) error {
	if id == 0 || m == nil {
		return nil
	}
	return s.send(wire.TypeReply, id, m)
}

func (s *session) send(t wire.Type, id uint32, m wire.Message) error {
	s.wmu.Lock()
	defer s.wmu.Unlock()
	s.wbuf = wire.AppendFrame(s.wbuf[:0], t, id, m)
	if len(s.wbuf) > wire.HeaderSize+wire.MaxBody {
		s.wbuf = wire.AppendFrame(nil, t, id, &wire.Status{Errno: uint32(unix.EMSGSIZE)})
	}
	err := sys.WriteFull(s.out, s.wbuf)
	if cap(s.wbuf) > 256<<10 {
		s.wbuf = nil
	}
	return err
}

func (s *session) write(b []byte) error {
	s.wmu.Lock()
	defer s.wmu.Unlock()
	return sys.WriteFull(s.out, b)
}

func init() {
	// The main goroutine keeps the main thread, whose id is the process's:
	// perf events on the stand-in's pid count there.
	runtime.LockOSThread()
}
