// Command peer stands in for bpfd in the tests of the transports: it does what
// the first line of its input says.
package main

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"syscall"
)

func main() {
	if len(os.Args) > 1 {
		fmt.Println("bpfd of the tests")
		return
	}
	in := bufio.NewReaderSize(os.Stdin, 64<<10)
	line, err := in.ReadString('\n')
	if err != nil {
		return
	}
	var word string
	var n int64
	fmt.Sscan(line, &word, &n)
	if err := do(word, n, in); err != nil {
		fmt.Fprintln(os.Stderr, "peer:", err)
		os.Exit(1)
	}
}

func do(word string, n int64, in io.Reader) error {
	switch word {
	case "echo": // until the end of the input
		_, err := io.Copy(os.Stdout, in)
		return err
	case "sink": // says what has come, after the end of the input
		sum := sha256.New()
		n, err := io.Copy(sum, in)
		fmt.Printf("%d %x\n", n, sum.Sum(nil))
		return err
	case "source": // n bytes
		_, err := io.CopyN(os.Stdout, rand.NewChaCha8([32]byte{}), n)
		return err
	case "hold": // says who it is, and ends with its input
		fmt.Println(os.Getpid())
		_, err := io.Copy(io.Discard, in)
		return err
	case "alive": // says whether a process is there
		fmt.Println(syscall.Kill(int(n), 0) == nil)
		return nil
	case "die":
		fmt.Fprintln(os.Stderr, "peer: a complaint")
		return syscall.Kill(os.Getpid(), syscall.SIGKILL)
	}
	return fmt.Errorf("unknown word %q", word)
}
