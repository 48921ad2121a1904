package vm

import (
	"fmt"
	"os"
	"regexp"
	"runtime"
	"strconv"

	"bpfd/test/vm/guest"
)

// forwarded are the guest's ports that a port of the host leads to.
var forwarded = []int{guest.CommandPort, guest.DaemonPort, guest.NativePort, guest.SSHPort, guest.ADBPort}

// arguments returns QEMU's command line.
func (v *VM) arguments(c *config, k *kernel) []string {
	m := machines[c.row.Arch]
	net := "user,id=net"
	for _, p := range forwarded {
		net += fmt.Sprintf(",hostfwd=tcp:127.0.0.1:0-:%d", p)
	}
	args := append([]string{"-accel", accelerator(c.row.Arch)}, m.args...)
	args = append(args,
		"-smp", strconv.Itoa(c.cpus), "-m", strconv.Itoa(c.memory),
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-kernel", k.image, "-initrd", v.path("initramfs"),
		"-append", "console="+m.console+" quiet panic=-1 "+c.cmdline,
		"-serial", "file:"+v.path("console"),
		"-monitor", "unix:"+v.path("monitor")+",server=on,wait=off",
		"-netdev", net, "-device", "virtio-net-pci,netdev=net",
		"-device", "virtio-rng-pci",
		"-device", "virtio-serial-pci",
		"-chardev", "socket,id=bpfd,path="+v.Socket()+",server=on,wait=off",
		"-device", "virtserialport,chardev=bpfd,name="+guest.DaemonSerial,
	)
	return append(args, c.qemu...)
}

// hardware matches a processor that runs guests by itself.
var hardware = regexp.MustCompile(`(?m)^flags\s*:.*\b(vmx|svm)\b`)

// accelerator returns KVM if the processor has what it takes. /dev/kvm alone does
// not say so: there are software implementations that cannot run these guests.
func accelerator(arch string) string {
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil && arch == "amd64" && runtime.GOARCH == "amd64" && hardware.Match(b) {
		if f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0); err == nil {
			f.Close()
			return "kvm"
		}
	}
	if arch == "amd64" {
		// Linux changes its own code on all processors at once. QEMU's threads
		// do not always see that (7.2): one runs a breakpoint that is gone, for ever.
		return "tcg,thread=single"
	}
	return "tcg,thread=multi"
}
