package agent

import "golang.org/x/sys/unix"

// wanted are the file systems that tools look for, where they look for them,
// and the magic numbers that statfs(2) has for them.
var wanted = []struct {
	path, fstype string
	magic        int64
}{
	{"/sys/fs/bpf", "bpf", unix.BPF_FS_MAGIC}, // first: before the namespace is private
	{"/sys/kernel/debug", "debugfs", unix.DEBUGFS_MAGIC},
	{"/sys/kernel/tracing", "tracefs", unix.TRACEFS_MAGIC},
}

// MountMissing mounts the file systems that the target lacks, in a mount
// namespace of this process alone, so that nothing of it stays behind. Only a
// bpf file system is mounted for all: what is pinned there is meant to stay.
// It says whether there is a new namespace: the caller, on the main thread,
// must then execute itself anew, for its other threads are in the old one.
// Without the privilege it does nothing, and tools report what they miss.
func MountMissing() bool {
	private := false
	for _, w := range wanted {
		var st unix.Statfs_t
		if unix.Statfs(w.path, &st) != nil || uint32(st.Type) == uint32(w.magic) {
			continue
		}
		if w.fstype != "bpf" && !private {
			if unix.Unshare(unix.CLONE_NEWNS) != nil || unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "") != nil {
				return false
			}
			private = true
		}
		unix.Mount(w.fstype, w.path, w.fstype, 0, "")
	}
	return private
}
