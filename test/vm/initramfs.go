package vm

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/cavaliergopher/cpio"
)

// tree is a file system to be: a guest's path → what is there.
type tree map[string]entry

// entry is a file, a symbolic link (if link is set) or a directory.
type entry struct {
	mode fs.FileMode
	data []byte
	link string
}

func (t tree) file(path string, mode fs.FileMode, data []byte) {
	t[clean(path)] = entry{mode: mode, data: data}
}

func (t tree) symlink(path, to string) {
	t[clean(path)] = entry{mode: fs.ModeSymlink | 0o777, link: to}
}

func (t tree) dir(path string, mode fs.FileMode) { t[clean(path)] = entry{mode: fs.ModeDir | mode} }

// copy adds a file of the host, with its mode.
func (t tree) copy(to, from string) error {
	st, err := os.Stat(from)
	if err != nil {
		return err
	}
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	t.file(to, st.Mode().Perm(), b)
	return nil
}

func clean(p string) string { return strings.TrimPrefix(path.Clean("/"+p), "/") }

// write writes the tree as the kernel wants an initramfs.
func (t tree) write(to string) error {
	f, err := os.Create(to)
	if err != nil {
		return err
	}
	defer f.Close()
	w := cpio.NewWriter(f)
	made := map[string]bool{".": true, "": true}
	var add func(name string) error
	add = func(name string) error {
		if made[name] {
			return nil
		}
		made[name] = true
		if err := add(path.Dir(name)); err != nil {
			return err
		}
		e, ok := t[name]
		if !ok {
			e.mode = fs.ModeDir | 0o755
		}
		return writeEntry(w, name, e)
	}
	for name := range t {
		if err := add(name); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	return f.Close()
}

func writeEntry(w *cpio.Writer, name string, e entry) error {
	h := &cpio.Header{Name: name, Mode: cpio.FileMode(e.mode.Perm()), Links: 1}
	data := e.data
	switch e.mode.Type() {
	case fs.ModeDir:
		h.Mode |= cpio.TypeDir
	case fs.ModeSymlink:
		h.Mode |= cpio.TypeSymlink
		data = []byte(e.link)
	default:
		h.Mode |= cpio.TypeReg
	}
	h.Size = int64(len(data))
	if e.mode&fs.ModeSticky != 0 {
		h.Mode |= cpio.ModeSticky
	}
	if err := w.WriteHeader(h); err != nil {
		return err
	}
	if len(data) == 0 {
		return nil
	}
	_, err := w.Write(data)
	return err
}

// modulesWanted are those that a guest uses, as far as its kernel has them.
var modulesWanted = []string{
	"virtio_pci", "virtio_mmio", "virtio_net", "virtio_console", "virtio_rng", "virtio_blk",
	"9pnet_virtio", "9p", "overlay", "crc32c_generic", "ext4", "vsock_loopback",
}

// base puts into a tree what each guest has: busybox, modules and init.
func (t tree) base(k *kernel, busybox string) error {
	if err := t.copy("/bin/busybox", filepath.Join(busybox, "bin", "busybox")); err != nil {
		if err := t.copy("/bin/busybox", filepath.Join(busybox, "usr", "bin", "busybox")); err != nil {
			return err
		}
	}
	t.symlink("/bin/sh", "busybox")
	modules, err := k.load(modulesWanted...)
	if err != nil {
		return err
	}
	var order strings.Builder
	for _, m := range modules {
		fmt.Fprintln(&order, m.name)
		t.file("/lib/modules/"+m.name+".ko", 0o644, m.data)
	}
	t.file("/lib/modules/order", 0o644, []byte(order.String()))
	t.file("/init", 0o755, initScript)
	t.file("/bin/load", 0o755, loadScript)
	t.file("/etc/passwd", 0o644, []byte("root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n"))
	t.file("/etc/group", 0o644, []byte("root:x:0:\nnogroup:x:65534:\n"))
	t.file("/etc/shells", 0o644, []byte("/bin/sh\n"))
	t.dir("/root", 0o700)
	t.dir("/tmp", 0o777|fs.ModeSticky)
	return nil
}
