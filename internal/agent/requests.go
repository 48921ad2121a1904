package agent

import (
	"bpfd/internal/wire"
)

// request is a row of the table of requests.
type request struct {
	body func() wire.Body
	slow func(wire.Body) bool // whether it may take long
	run  func(s *session, id uint32, req wire.Body) wire.Message
}

// row makes a request from a function over its decoded body.
func row[T any, P interface {
	*T
	wire.Body
}](slow func(P) bool, run func(s *session, id uint32, req P) wire.Message) request {
	return request{
		body: func() wire.Body { return P(new(T)) },
		slow: func(b wire.Body) bool { return slow(b.(P)) },
		run:  func(s *session, id uint32, b wire.Body) wire.Message { return run(s, id, b.(P)) },
	}
}

func never[P any](P) bool  { return false }
func always[P any](P) bool { return true }

// requests says how each type of frame from the host is served.
var requests = map[wire.Type]request{
	wire.TypeCall: row(func(c *wire.Call) bool { return c.Flags&wire.CallSlow != 0 },
		func(s *session, _ uint32, c *wire.Call) wire.Message { return s.call(c) }),
	wire.TypeClose: row(never, func(s *session, _ uint32, c *wire.Close) wire.Message {
		for _, h := range c.Handles {
			s.fds.close(h)
		}
		return &wire.Status{}
	}),
	wire.TypeWalk:     row(always, func(s *session, _ uint32, w *wire.Walk) wire.Message { return s.walk(w) }),
	wire.TypeInfo:     row(never, func(s *session, _ uint32, _ *wire.Empty) wire.Message { i := info(); return &i }),
	wire.TypeStat:     row(always, func(s *session, _ uint32, p *wire.Path) wire.Message { return s.stat(p) }),
	wire.TypeReadlink: row(always, func(s *session, _ uint32, p *wire.Path) wire.Message { return s.readlink(p) }),
	wire.TypeReadDir:  row(always, func(s *session, _ uint32, p *wire.Path) wire.Message { return s.readDir(p) }),
	wire.TypeOpen:     row(always, func(s *session, _ uint32, o *wire.Open) wire.Message { return s.open(o) }),
	wire.TypeRead:     row(always, (*session).read),
	wire.TypeWrite:    row(always, func(s *session, _ uint32, w *wire.Write) wire.Message { return s.writeFile(w) }),
	wire.TypePathOp:   row(always, func(s *session, _ uint32, p *wire.PathOp) wire.Message { return s.pathOp(p) }),
	wire.TypeStatfs:   row(always, func(s *session, _ uint32, p *wire.Path) wire.Message { return s.statfs(p) }),
	wire.TypeStream:   row(never, func(s *session, _ uint32, r *wire.Stream) wire.Message { return s.streams.open(r) }),
	wire.TypeCredit: row(never, func(s *session, id uint32, c *wire.Credit) wire.Message {
		s.streams.credit(id, c.Total)
		return nil
	}),
	wire.TypeMemory:  row(never, func(s *session, _ uint32, m *wire.Memory) wire.Message { return s.syncMemory(m) }),
	wire.TypeTrigger: row(never, func(s *session, _ uint32, t *wire.Trigger) wire.Message { return trigger(t) }),
	wire.TypeCancel: row(never, func(s *session, id uint32, _ *wire.Empty) wire.Message {
		s.cancels.cancel(id)
		return nil
	}),
	wire.TypeWriteRing: row(never, func(s *session, _ uint32, w *wire.WriteRing) wire.Message { return s.writeRing(w) }),
	wire.TypeAck:       row(never, func(*session, uint32, *wire.Ack) wire.Message { return nil }),
}
