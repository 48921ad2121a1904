package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"

	"bpfd/internal/btffile"
	"bpfd/internal/cache"
	"bpfd/internal/kernel"
	"bpfd/internal/wire"

	"github.com/spf13/cobra"
)

// standInBTF returns the type information that the command line names for a
// kernel that has none, nil if it names none or if the target has its own.
func standInBTF(cmd *cobra.Command, c *connection) ([]byte, error) {
	path := given(cmd, "btf")
	if path == "" || cmd.Flags().Lookup("headers") == nil { // load and build have a --btf of their own
		return nil, nil
	}
	f, err := btffile.Load(path, c.client.Welcome.Info.Arch)
	if err != nil {
		return nil, errBTF(err)
	}
	var own wire.StatReply
	if err := c.client.Do(wire.TypeStat, &wire.Path{Path: kernel.BTFPath}, &own); err != nil {
		return nil, c.explain(err)
	}
	if own.Errno == 0 {
		warn(warnOwnBTF(c.target, path))
		return nil, nil
	}
	k := kernel.New(c.client)
	switch id, err := hex.DecodeString(k.BuildID()); {
	case err == nil && len(id) > 0 && len(f.BuildID) > 0:
		if !bytes.Equal(id, f.BuildID) {
			warn(warnOtherBuild(c.target, path))
		}
	default:
		if msg := compareSymbols(k, f, path, c.target); msg != "" {
			warn(msg)
		}
	}
	return f.Data, nil
}

// compareSymbols returns a warning if the functions that the type information
// names are not the target's, "" if they are. The symbols are many: what was
// found is kept.
func compareSymbols(k *kernel.Kernel, f *btffile.File, path, target string) string {
	sum := sha256.Sum256(f.Data)
	known := cache.Path("btf-checked", k.BuildID()+"-"+hex.EncodeToString(sum[:16]))
	var foreign, all int
	var example string
	if b, err := os.ReadFile(known); err != nil || k.BuildID() == "" {
		symbols := k.Symbols()
		if symbols == nil {
			return "" // the target does not tell: nothing is proven
		}
		foreign, all, example = f.Foreign(symbols)
		if k.BuildID() != "" {
			// Without the cache the symbols are fetched again the next time, no more.
			cache.Put(known, fmt.Appendf(nil, "%d %d %s\n", foreign, all, example), 0o600)
		}
	} else {
		fmt.Sscan(string(b), &foreign, &all, &example)
	}
	if foreign*btffile.Tolerance <= all {
		return ""
	}
	return warnOtherKernel(target, path, foreign, all, example)
}
