package vm

import "fmt"

// NativeRoot is where a guest has the host's file system, in which the host's
// tools run on the guest's kernel: chroot NativeRoot TOOL.
const NativeRoot = "/native"

// WithNative lets the guest run this machine's own tools, by mounting this
// machine's file system read-only with an overlay in memory. Host and guest must
// have one architecture, and the kernel 9p (Debian's but for the cloud has).
func WithNative() Option {
	return func(c *config) error {
		c.qemu = append(c.qemu, "-virtfs", "local,path=/,security_model=none,mount_tag=host,readonly=on,multidevs=remap")
		c.memory = max(c.memory, 1536)
		c.tree.file("/bin/bpfd-native", 0o755, []byte("#!/bin/sh\nexec chroot "+NativeRoot+" /run/bpfd\n"))
		return WithStart("native", fmt.Sprintf(nativeScript, NativeRoot))(c)
	}
}

// nativeScript mounts under a name that does not exist until all is there: also
// what a bpfd would mount for itself alone, in a mount namespace in which the
// kernel has other names for the files of the processes beside it.
const nativeScript = `set -e
mkdir -p /run/host /run/layer %[1]s.tmp
mount -t 9p -o trans=virtio,version=9p2000.L,ro,cache=loose,msize=262144 host /run/host
mount -t tmpfs tmpfs /run/layer
mkdir /run/layer/upper /run/layer/work
mount -t overlay -o lowerdir=/run/host,upperdir=/run/layer/upper,workdir=/run/layer/work overlay %[1]s.tmp
for dir in proc sys dev; do
	mkdir -p %[1]s.tmp/$dir
	mount --rbind /$dir %[1]s.tmp/$dir
done
mount -t debugfs debugfs %[1]s.tmp/sys/kernel/debug
mount -t tracefs tracefs %[1]s.tmp/sys/kernel/tracing
mount -t bpf bpf %[1]s.tmp/sys/fs/bpf
cp /bin/bpfd %[1]s.tmp/run/
ln -s %[1]s.tmp %[1]s
`
