package headers

import (
	"archive/tar"
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"

	"github.com/ulikunitz/xz"
)

// maxUnpacked bounds what an archive may take on the disk, in bytes: kheaders
// takes 40 MB.
const maxUnpacked = 1 << 30

// Unpack unpacks a .tar.xz into a new directory. Names and links that lead out
// of it are refused; owners, devices and the like are passed over.
func Unpack(r io.Reader, dir string) error {
	z, err := xz.NewReader(bufio.NewReaderSize(r, 1<<20))
	if err != nil {
		return damaged(err)
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	left := int64(maxUnpacked)
	for t := tar.NewReader(z); ; {
		h, err := t.Next()
		if err == io.EOF {
			// What follows the end is padding; reading it checks the archive's sum.
			if _, err := io.Copy(io.Discard, z); err != nil {
				return damaged(err)
			}
			return nil
		}
		if err != nil {
			return damaged(err)
		}
		if left -= h.Size; left < 0 {
			return damaged(fmt.Errorf("it takes more than %d bytes", int64(maxUnpacked)))
		}
		if err := unpackEntry(root, h, t); err != nil {
			return err
		}
	}
}

func damaged(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return errors.New("the archive is truncated")
	}
	return fmt.Errorf("the archive is damaged: %w", err)
}

// unpackEntry makes one file. The root refuses what leads out of it.
func unpackEntry(root *os.Root, h *tar.Header, content io.Reader) error {
	name := path.Clean(h.Name)
	if !filepath.IsLocal(name) {
		return damaged(fmt.Errorf("the name %q leads out of it", h.Name))
	}
	if name == "." {
		return nil
	}
	if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	switch h.Typeflag {
	case tar.TypeDir:
		return root.MkdirAll(name, 0o755)
	case tar.TypeReg:
		return unpackFile(root, name, content)
	case tar.TypeSymlink:
		if path.IsAbs(h.Linkname) || !filepath.IsLocal(path.Join(path.Dir(name), h.Linkname)) {
			return damaged(fmt.Errorf("the link %q leads out of it, to %q", h.Name, h.Linkname))
		}
		return root.Symlink(h.Linkname, name)
	case tar.TypeLink:
		if !filepath.IsLocal(path.Clean(h.Linkname)) {
			return damaged(fmt.Errorf("the link %q leads out of it, to %q", h.Name, h.Linkname))
		}
		return root.Link(path.Clean(h.Linkname), name)
	}
	return nil
}

func unpackFile(root *os.Root, name string, content io.Reader) error {
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	source := &reader{r: content}
	_, err = io.Copy(f, source)
	if source.err != nil && source.err != io.EOF {
		err = damaged(source.err)
	}
	if e := f.Close(); err == nil {
		err = e
	}
	return err
}

// reader remembers why it has ended, which tells a damaged archive from a full disk.
type reader struct {
	r   io.Reader
	err error
}

func (r *reader) Read(p []byte) (n int, err error) {
	n, r.err = r.r.Read(p)
	return n, r.err
}
