package shell

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// SetUpHome copies what a new home starts with, as the user it belongs to.
// What is already there stays as it is.
func SetUpHome(cred *syscall.Credential, skeleton, home string) error {
	err := asUser(cred, func() error { return copyTree(skeleton, home) })
	if err != nil {
		return fmt.Errorf("set up the home directory: %w", err)
	}
	return nil
}

func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, relative)
		switch {
		case relative == ".":
			return nil
		case d.IsDir():
			err = os.Mkdir(target, 0o755)
		case d.Type() == fs.ModeSymlink:
			err = copyLink(path, target)
		default:
			err = copyFile(path, target)
		}
		if errors.Is(err, fs.ErrExist) {
			return nil
		}
		return err
	})
}

func copyLink(from, to string) error {
	dest, err := os.Readlink(from)
	if err != nil {
		return err
	}
	return os.Symlink(dest, to)
}

func copyFile(from, to string) (err error) {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	info, err := src.Stat()
	if err != nil {
		return err
	}
	dst, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, info.Mode().Perm())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dst.Close()) }()
	_, err = io.Copy(dst, src)
	return err
}
