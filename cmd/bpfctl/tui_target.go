package main

import "fmt"

// The words of `bpfctl target`.
const (
	targetShort = "give names to targets"
	targetLong  = `target gives names to targets, in $XDG_CONFIG_HOME/bpfd/config.toml.

-t takes a NAME, [user@]host, or a URL. Without it the variable BPFD_TARGET
names the target, then the default, which "target use" sets. A bare word is a
name given here, a host in ssh's configuration, or the serial of a device that
adb sees; if it could be several, bpfctl says so and asks for a URL.`
	targetExample = `  bpfctl target add pixel adb:R58N12
  bpfctl target add board root@board.local --btf board.btf
  bpfctl target use pixel
  bpfctl run -- execsnoop`
	targetAddShort     = "name a target"
	targetListShort    = "list the names"
	targetShowShort    = "show what a name stands for"
	targetUseShort     = "make a target the default, or none"
	targetRemoveShort  = "forget names"
	targetHeadersUsage = "`directory` of the target's kernel headers, as --headers of run"
	targetBTFUsage     = "`file` with the target's kernel types, as --btf of run"
	targetForceUsage   = "replace a name that is taken"
)

func errTargetExists(name, url string) error {
	return fmt.Errorf("%s is the name of %s already; to replace it add --force", name, url)
}

func errNoSuchTarget(name string) error {
	return fmt.Errorf("no target has the name %s; bpfctl target ls lists them", name)
}
