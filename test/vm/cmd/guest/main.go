// Command guest is what runs in a virtual machine for the tests: it runs
// commands, and a bpfd for each connection.
package main

import (
	"fmt"
	"net"
	"os"

	"bpfd/test/vm/guest"
)

const daemon = "/bin/bpfd"

// native runs a bpfd in another root, if the guest has one.
const native = "/bin/bpfd-native"

func main() {
	errs := make(chan error)
	serve := func(port int, f func(*net.TCPListener) error) {
		l, err := net.ListenTCP("tcp4", &net.TCPAddr{Port: port})
		if err != nil {
			errs <- err
			return
		}
		errs <- f(l)
	}
	go serve(guest.CommandPort, func(l *net.TCPListener) error { return guest.ServeCommands(l) })
	go serve(guest.DaemonPort, func(l *net.TCPListener) error { return guest.ServeDaemon(l, daemon) })
	if _, err := os.Stat(native); err == nil {
		go serve(guest.NativePort, func(l *net.TCPListener) error { return guest.ServeDaemon(l, native) })
	}
	go func() {
		device, err := guest.SerialPort(guest.DaemonSerial)
		if err == nil {
			err = guest.ServeSerial(device, daemon)
		}
		errs <- err
	}()
	fmt.Fprintln(os.Stderr, "guest:", <-errs)
	os.Exit(1)
}
