// Package sys holds the raw system calls that bpfd and bpfctl make beyond
// golang.org/x/sys/unix. Pointers are confined to the *_unsafe.go files.
package sys

import "golang.org/x/sys/unix"

// PageSize of this machine in bytes.
var PageSize = unix.Getpagesize()
