package headers

import (
	"io/fs"
	"os"
	"path/filepath"
)

// merge moves the files of trees into dir; where several trees have a file the
// first one's is taken. Distributions split headers in trees with links from
// one into the other: links that lead out of their tree are left out, since
// what they lead to is there by then.
func merge(dir string, trees ...string) error {
	for _, tree := range trees {
		err := filepath.WalkDir(tree, func(path string, e fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			name, err := filepath.Rel(tree, path)
			if err != nil {
				return err
			}
			return mergeFile(dir, name, path, e)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func mergeFile(dir, name, from string, e fs.DirEntry) error {
	to := filepath.Join(dir, name)
	if e.IsDir() {
		return os.MkdirAll(to, 0o755)
	}
	if _, err := os.Lstat(to); err == nil {
		return nil
	}
	if e.Type()&fs.ModeSymlink != 0 {
		link, err := os.Readlink(from)
		if err != nil {
			return err
		}
		if filepath.IsAbs(link) || !filepath.IsLocal(filepath.Join(filepath.Dir(name), link)) {
			return nil
		}
	}
	return os.Rename(from, to)
}
