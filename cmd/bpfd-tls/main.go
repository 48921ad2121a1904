// Command bpfd-tls accepts connections of TLS 1.3 from those who have a
// certificate of its authority, and runs a bpfd for each.
package main

import (
	"fmt"
	"log"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"bpfd/internal/mtls"

	"github.com/spf13/cobra"
)

// version is set by the linker.
var version = "devel"

const long = `bpfd-tls listens for bpfctl -t tcp://HOST:PORT and runs a bpfd for each
connection. It speaks TLS 1.3 only, and only with those who present a
certificate of the authority in its directory of certificates, which
"bpfctl tls enroll" makes. If anything of that is missing it does not start.

It runs in the foreground; see bpfd-tls.service for systemd.`

func main() {
	log.SetFlags(0)
	log.SetPrefix("bpfd-tls: ")
	if err := command().Execute(); err != nil {
		log.Fatal(err)
	}
}

func command() *cobra.Command {
	var (
		s           server
		address     string
		dir         string
		connections int
	)
	cmd := &cobra.Command{
		Use:           "bpfd-tls",
		Short:         "serve bpfd to those who have a certificate",
		Long:          long,
		Example:       "  bpfd-tls --listen :2017 --tls /etc/bpfd/tls",
		Args:          cobra.NoArgs,
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(*cobra.Command, []string) error {
			if connections < 1 || s.timeout <= 0 {
				return fmt.Errorf("--connections and --handshake-timeout must be positive")
			}
			s.slots = make(chan struct{}, connections)
			s.pending = make(chan struct{}, pending)
			return s.listen(dir, address)
		},
	}
	cmd.Flags().StringVar(&address, "listen", ":2017", "`address` and port to listen at")
	cmd.Flags().StringVar(&dir, "tls", "/etc/bpfd/tls", "`directory` with ca.pem, cert.pem and key.pem")
	cmd.Flags().StringVar(&s.bpfd, "bpfd", beside(), "the bpfd `program` to run")
	cmd.Flags().StringVar(&s.socket, "socket", "", "a `path` of a socket behind which a bpfd starts for each connection, instead of a program")
	cmd.MarkFlagsMutuallyExclusive("bpfd", "socket")
	cmd.Flags().IntVar(&connections, "connections", 16, "serve at most this `number` at a time")
	cmd.Flags().DurationVar(&s.timeout, "handshake-timeout", 10*time.Second, "how `long` a handshake may take")
	return cmd
}

// beside returns the bpfd beside this program.
func beside() string {
	exe, err := os.Executable()
	if err != nil {
		return "bpfd"
	}
	return filepath.Join(filepath.Dir(exe), "bpfd")
}

// listen checks that all is there and serves for ever.
func (s *server) listen(dir, address string) error {
	credentials, err := mtls.Load(dir, mtls.Target)
	if err != nil {
		return err
	}
	s.config = credentials.Server()
	if s.socket != "" {
		_, err = os.Stat(s.socket)
	} else {
		s.bpfd, err = exec.LookPath(s.bpfd)
	}
	if err != nil {
		return fmt.Errorf("no bpfd to run: %w", err)
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	log.Printf("listening at %s", l.Addr())
	return s.serve(l)
}
