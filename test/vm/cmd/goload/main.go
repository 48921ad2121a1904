// Command goload is a Go program for tools to look at: it calls functions with
// known arguments and results, and talks to itself over TCP.
package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

// goSquare is to be probed: it is called with 7, and returns 49.
//
//go:noinline
func goSquare(n int) int { return n * n }

const payload = "0123456789abcdef"

func main() {
	l, err := net.Listen("tcp4", "127.0.0.1:8100")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			io.Copy(c, c)
			c.Close()
		}
	}()
	for range time.Tick(500 * time.Millisecond) {
		goSquare(7)
		talk(l.Addr().String())
	}
}

// talk sends the payload and reads it back.
func talk(addr string) {
	c, err := net.Dial("tcp4", addr)
	if err != nil {
		return
	}
	defer c.Close()
	io.WriteString(c, payload)
	c.(*net.TCPConn).CloseWrite()
	io.Copy(io.Discard, c)
}
