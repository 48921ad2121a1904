// Package agent is bpfd: it runs a host's requests on the target, owns the
// descriptors that they make, and streams ring buffers. It knows no bpf
// commands: a request says which bytes go where.
package agent

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"runtime"
	"sync"

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
	serving sync.Mutex // held while the main thread serves a request, but not while it waits or writes
	slow    chan struct{}
	running sync.WaitGroup // requests beside the main thread, without the writing of their replies
	sending sync.WaitGroup // who writes beside the main thread
	ending  chan struct{}  // closed when nothing is waited for any more
	ended   sync.Once
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
	defer sys.OnSignal(s.endByRequest)()
	defer s.close()
	if err := s.greet(); err != nil {
		return err
	}
	return s.loop()
}

func newSession(in io.Reader, out int, opts Options) *session {
	s := &session{in: in, out: out, opts: opts, fds: newFDTable(), slow: make(chan struct{}, slowCalls), ending: make(chan struct{})}
	s.streams = newStreamTable(s)
	s.fds.onClose = []func(wire.Handle){s.streams.closeHandle, s.memory.close, s.files.close}
	return s
}

// endByRequest releases what the session made before a signal ends the process.
// It does not wait for a host that takes nothing.
func (s *session) endByRequest() {
	s.stopWaiting()
	s.serving.Lock() // for good: nothing may be made any more
	s.release()
}

// stopWaiting has no request wait for anything but the kernel any more.
func (s *session) stopWaiting() {
	s.ended.Do(func() { close(s.ending) })
	s.cancels.cancelAll()
	s.streams.closeAll()
}

// close releases what the session holds and waits for who still writes.
func (s *session) close() {
	s.release()
	s.sending.Wait()
}

// release ends what runs and drops what the session holds, once. Replies may
// still be on their way.
func (s *session) release() {
	s.released.Do(func() {
		s.stopWaiting()
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
		if err == nil {
			err = s.serve(h, body)
		}
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
	if row.slow(req) {
		s.enter()
		s.serveBeside(h, row, req)
		return nil
	}
	s.serving.Lock()
	m := row.run(s, h.ID, req)
	s.serving.Unlock()
	return s.reply(h.ID, m)
}

// serveBeside runs a request that has a slot.
func (s *session) serveBeside(h wire.Header, row request, req wire.Body) {
	s.serving.Lock()
	defer s.serving.Unlock()
	if h.Type == wire.TypeRead {
		s.cancels.add(h.ID)
	}
	s.running.Add(1)
	s.sending.Add(1)
	go func() {
		defer s.sending.Done()
		defer s.leave()
		m := row.run(s, h.ID, req)
		s.running.Done()
		// A reply that cannot be sent means that the input is about to end.
		s.reply(h.ID, m)
	}()
}

// enter waits for one of the slots of requests that run beside the main thread.
// When the session ends there is no need for one.
func (s *session) enter() {
	select {
	case s.slow <- struct{}{}:
	case <-s.ending:
	}
}

// leave gives the slot back.
func (s *session) leave() {
	select {
	case <-s.slow:
	default: // the session ends
	}
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
