package main

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"bpfd/internal/cache"
	"bpfd/internal/headers"

	"github.com/spf13/cobra"
)

// bccSource is the variable that bcc itself takes headers from.
const bccSource = "BCC_KERNEL_SOURCE"

// anyHeaders is the variable that lets headers of another kernel pass.
const anyHeaders = "BPFD_ANY_HEADERS"

// addHeaderFlags adds the flags of commands that run tools for what a target
// may lack.
func addHeaderFlags(cmd *cobra.Command) {
	cmd.Flags().String("headers", "", headersUsage)
	cmd.Flags().String("btf", "", btfUsage)
}

// given returns what a flag says, "" if a command has no such flag.
func given(cmd *cobra.Command, flag string) string {
	if f := cmd.Flags().Lookup(flag); f != nil {
		return f.Value.String()
	}
	return ""
}

// toolHeaders are the kernel headers that a tool sees. It implements
// remotefs.Headers.
type toolHeaders struct {
	*headers.Finder
	target string
	named  string // the flag or variable that named a directory, "" if none
	missed sync.Once
	failed sync.Once
}

// newHeaders returns the headers for a tool and its environment. A directory
// that the command line names must be right; one that the environment names is
// there for many tools and is looked at when a tool looks for headers.
func newHeaders(cmd *cobra.Command, c *connection, env []string) (*toolHeaders, []string, error) {
	h := &toolHeaders{target: c.target}
	dir := given(cmd, "headers")
	if dir != "" {
		h.named = "--headers"
	} else if dir = os.Getenv(bccSource); dir != "" {
		h.named = bccSource
	}
	if dir != "" {
		abs, err := filepath.Abs(dir)
		if err != nil {
			return nil, nil, err
		}
		dir = abs
	}
	h.Finder = headers.NewFinder(c.client, &c.client.Welcome.Info, headers.Options{
		Dir: dir, Any: os.Getenv(anyHeaders) != "", Progress: progress(progressHeaders(c.target)),
	})
	if h.named == "--headers" {
		if _, err := h.Finder.Find(); err != nil {
			return nil, nil, h.explain(err)
		}
	}
	return h, h.env(env), nil
}

// env has the tool look into /lib/modules, and keeps it from what bcc may have
// unpacked for another kernel of the same release.
func (h *toolHeaders) env(env []string) []string {
	env = without(env, bccSource)
	if _, err := os.Stat(filepath.Join(os.TempDir(), "kheaders-"+h.Kernel.Release)); err != nil {
		return env
	}
	dir := cache.Path("tmp", h.ID())
	if err := os.MkdirAll(dir, 0o700); err != nil {
		warn(err.Error())
		return env
	}
	return append(without(env, "TMPDIR"), "TMPDIR="+dir)
}

// without returns an environment that lacks a variable.
func without(env []string, name string) []string {
	return slices.DeleteFunc(slices.Clone(env), func(e string) bool { return strings.HasPrefix(e, name+"=") })
}

// explain says what to do about an error.
func (h *toolHeaders) explain(err error) error {
	if e := (*headers.Mismatch)(nil); errors.As(err, &e) {
		err = errOtherHeaders(err)
		if h.named != "" {
			err = errNamedHeaders(h.named, err)
		}
		return errTarget(h.target, err)
	}
	if h.named != "" {
		return errNamedHeaders(h.named, err)
	}
	return errTarget(h.target, err)
}

// Find implements remotefs.Headers.
func (h *toolHeaders) Find() (build, source string, ok bool) {
	t, err := h.Finder.Find()
	if err != nil {
		h.failed.Do(func() { failure(h.explain(err)) })
		return "", "", false
	}
	return t.Build, t.Source, true
}

// Missed implements remotefs.Headers.
func (h *toolHeaders) Missed() {
	h.missed.Do(func() {
		if !h.Available() {
			failure(errNoHeaders(h.target, h.Finder))
		}
	})
}
