// Package transport has one suite of tests for every transport, over the real
// client and server programs. What is at the other end is peer.
package transport

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"bpfd/internal/sys"
	"bpfd/internal/transport"
	"bpfd/test/testenv"
)

// bulk is how much the large transfers move.
const bulk = 64 << 20

// suite runs every test over one transport, by which url leads to a peer.
func suite(t *testing.T, url string) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, url string)
	}{
		{"both ways", bothWays},
		{"to the target", toTarget},
		{"from the target", fromTarget},
		{"slow reader", slowReader},
		{"end without a word", silent},
		{"target dies", dies},
		{"cut", cut},
		{"close", closed},
		{"parallel", parallel},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, url) })
	}
}

func parse(t *testing.T, url string) transport.Target {
	t.Helper()
	target, err := transport.Parse(url)
	if err != nil {
		t.Fatal(err)
	}
	return target
}

func dial(t *testing.T, url string) *transport.Conn {
	t.Helper()
	conn, err := transport.Dial(parse(t, url), transport.Options{})
	if err != nil {
		t.Fatal(err)
	}
	// What hangs is cut, so that the test fails instead.
	timer := time.AfterFunc(3*time.Minute, conn.Kill)
	t.Cleanup(func() { timer.Stop() })
	return conn
}

// finish ends a connection whose target has nothing more to say.
func finish(t *testing.T, conn *transport.Conn) {
	t.Helper()
	sys.CloseWrite(conn.W)
	// Read as bpfctl does.
	if rest, err := io.ReadAll(sys.NewReader(int(conn.R.Fd()))); err != nil || len(rest) > 0 {
		t.Errorf("%d bytes after the end, %v", len(rest), err)
	}
	conn.Wait()
	conn.R.Close()
}

func say(t *testing.T, conn *transport.Conn, format string, args ...any) {
	t.Helper()
	if _, err := fmt.Fprintf(conn.W, format+"\n", args...); err != nil {
		t.Fatal(err)
	}
}

// line reads a line.
func line(t *testing.T, conn *transport.Conn) string {
	t.Helper()
	var b [1]byte
	var all []byte
	for {
		if _, err := io.ReadFull(conn.R, b[:]); err != nil {
			t.Fatalf("after %q: %v", all, err)
		}
		if b[0] == '\n' {
			return string(all)
		}
		all = append(all, b[0])
	}
}

// random returns n bytes which no compression makes shorter.
func random(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{}).Read(b)
	return b
}

func bothWays(t *testing.T, url string) { echo(t, url, bulk) }

func echo(t *testing.T, url string, n int) {
	conn := dial(t, url)
	say(t, conn, "echo")
	want := random(n)
	written := make(chan error)
	go func() {
		_, err := conn.W.Write(want)
		written <- err
	}()
	got := make([]byte, n)
	if _, err := io.ReadFull(conn.R, got); err != nil {
		t.Error(err)
	}
	if err := <-written; err != nil {
		t.Error(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("other bytes came back than were sent")
	}
	finish(t, conn)
}

func toTarget(t *testing.T, url string) {
	conn := dial(t, url)
	say(t, conn, "sink")
	b := random(bulk)
	if _, err := conn.W.Write(b); err != nil {
		t.Fatal(err)
	}
	sys.CloseWrite(conn.W) // only this direction
	sum := sha256.Sum256(b)
	want := fmt.Sprintf("%d %s", len(b), hex.EncodeToString(sum[:]))
	if got := line(t, conn); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	finish(t, conn)
}

func fromTarget(t *testing.T, url string) {
	conn := dial(t, url)
	say(t, conn, "source %d", bulk)
	got := make([]byte, bulk)
	if _, err := io.ReadFull(conn.R, got); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, random(bulk)) {
		t.Error("other bytes came than were sent")
	}
	finish(t, conn)
}

func slowReader(t *testing.T, url string) {
	const n = 16 << 20
	conn := dial(t, url)
	say(t, conn, "source %d", n)
	var got bytes.Buffer
	for range 10 {
		time.Sleep(50 * time.Millisecond)
		if _, err := io.CopyN(&got, conn.R, 100<<10); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := io.CopyN(&got, conn.R, int64(n-got.Len())); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), random(n)) {
		t.Error("other bytes came than were sent")
	}
	finish(t, conn)
}

func silent(t *testing.T, url string) { finish(t, dial(t, url)) }

func dies(t *testing.T, url string) {
	conn := dial(t, url)
	say(t, conn, "die")
	finish(t, conn)
	piped := strings.HasPrefix(url, "ssh:") || strings.HasPrefix(url, "adb:") || strings.HasPrefix(url, "shell:")
	if said := conn.Said(); piped && said != "peer: a complaint" {
		t.Errorf("the target's side said %q", said)
	}
}

// hold starts a peer that waits, and returns its process id.
func hold(t *testing.T, url string) (*transport.Conn, int) {
	conn := dial(t, url)
	say(t, conn, "hold")
	pid, err := strconv.Atoi(line(t, conn))
	if err != nil {
		t.Fatal(err)
	}
	return conn, pid
}

// gone waits until a process on the target has ended.
func gone(t *testing.T, url string, pid int) {
	t.Helper()
	testenv.Eventually(t, fmt.Sprintf("process %d on the target is still there", pid), func() bool {
		conn := dial(t, url)
		say(t, conn, "alive %d", pid)
		alive := line(t, conn) == "true"
		finish(t, conn)
		return !alive
	})
}

func cut(t *testing.T, url string) {
	conn, pid := hold(t, url)
	conn.Kill()
	conn.W.Close()
	conn.Wait()
	conn.R.Close()
	gone(t, url, pid)
}

func closed(t *testing.T, url string) {
	conn, pid := hold(t, url)
	finish(t, conn)
	gone(t, url, pid)
}

func parallel(t *testing.T, url string) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for range 8 {
		wg.Go(func() { echo(t, url, 1<<20) })
	}
}
