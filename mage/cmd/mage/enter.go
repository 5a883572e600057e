package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/magefile/mage/mage"
)

// calledFrom tells the targets the folder that they were called from, where it is
// not the one that they run in: names of files are relative to it.
const calledFrom = "VPS_CALLED_FROM"

// enter goes to the folder with the magefile: mage asks go in the working folder,
// wherever -d points. All paths of the invocation keep their meaning.
func enter(inv *mage.Invocation) error {
	from, err := os.Getwd()
	if err != nil {
		return err
	}
	dir := inv.Dir
	if dir == "" {
		dir = above(from)
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	if inv.CompileOut != "" {
		inv.CompileOut = absolute(from, inv.CompileOut)
	}
	switch {
	case inv.WorkDir != "":
		inv.WorkDir = absolute(from, inv.WorkDir)
	case filepath.Base(dir) == mage.MagefilesDirName && inv.Dir != "":
		inv.WorkDir = dir
	}
	if filepath.Base(dir) == mage.MagefilesDirName {
		inv.Dir, dir = mage.MagefilesDirName, filepath.Dir(dir)
	} else {
		inv.Dir = "."
	}
	if dir == from {
		return nil
	}
	if err := os.Chdir(dir); err != nil {
		return fmt.Errorf("go to the folder of the magefile: %w", err)
	}
	if err := os.Setenv("PWD", dir); err != nil {
		return err
	}
	return os.Setenv(calledFrom, from)
}

func absolute(from, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(from, path)
}

// above is the nearest folder with magefiles, from a folder upward, or the folder
// itself where none has any.
func above(from string) string {
	for dir := from; ; dir = filepath.Dir(dir) {
		if hasMagefiles(dir) {
			return dir
		}
		if dir == filepath.Dir(dir) {
			return from
		}
	}
}

func hasMagefiles(dir string) bool {
	if info, err := os.Stat(filepath.Join(dir, mage.MagefilesDirName)); err == nil && info.IsDir() {
		return true
	}
	files, err := mage.Magefiles(dir, "", "", false)
	return err == nil && len(files) > 0
}
