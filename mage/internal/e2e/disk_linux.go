package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// disk is an ext4 file system in a file of its own.
type disk struct {
	t          testing.TB
	file       string
	mountpoint string
}

// newDisk returns a mounted copy of a server image's disk.
func newDisk(t testing.TB, image string) *disk {
	t.Helper()
	Require(t, "mkfs.ext4", "losetup")
	master := filepath.Join(os.TempDir(), strings.ReplaceAll(image, ":", "-")+".ext4")
	run(t, 5*time.Minute, Recipe("image", "disk"), image, master)
	// Not the test's own folder: image/clean must find it when the test is killed.
	dir, err := os.MkdirTemp("", "vps-e2e-disk-"+os.Getenv("VPS_E2E_RUN")+"-")
	noError(t, err)
	d := &disk{t: t, file: filepath.Join(dir, "disk.ext4"), mountpoint: filepath.Join(dir, "root")}
	noError(t, os.Mkdir(d.mountpoint, 0o755))
	run(t, commandLimit, "cp", "--sparse=always", master, d.file)
	t.Cleanup(func() {
		d.unmount()
		noError(t, os.RemoveAll(dir))
	})
	d.mount()
	return d
}

func (d *disk) write(files map[string]string) {
	d.t.Helper()
	put(d.t, d.mountpoint, files)
}

func (d *disk) mount() {
	d.t.Helper()
	run(d.t, commandLimit, "mount", "-o", "loop", d.file, d.mountpoint)
}

func (d *disk) unmount() {
	d.t.Helper()
	run(d.t, commandLimit, "umount", d.mountpoint)
}

// recover attaches a disk again whose power was cut; the file system reads its
// journal, as it would at the next start. It must be a copy: a container that
// happens to start now holds every mount for a moment, and with it the dead file
// system, which a second mount of the same file would meet again.
func (d *disk) recover() {
	d.t.Helper()
	d.unmount()
	dead := d.file
	d.file = dead + "+"
	run(d.t, commandLimit, "cp", "--sparse=always", dead, d.file)
	noError(d.t, os.Remove(dead))
	d.mount()
}

// EXT4_IOC_SHUTDOWN and its EXT4_GOING_FLAGS_NOLOGFLUSH: the file system stops
// in an instant, and neither data nor journal still in memory is written.
const (
	ext4Shutdown   = 0x8004587d
	ext4NoLogFlush = 2
)

// cutPower leaves in the file exactly what a disk holds when its power goes.
// That is atomic, where copying the file of a mounted disk would not be.
func (d *disk) cutPower(journal bool) {
	d.t.Helper()
	if journal {
		d.commitJournal()
	}
	root, err := os.Open(d.mountpoint)
	noError(d.t, err)
	defer root.Close()
	noError(d.t, unix.IoctlSetPointerInt(int(root.Fd()), ext4Shutdown, ext4NoLogFlush))
}

// commitJournal does at once what ext4 does every five seconds: a file that is
// synced takes every pending change of names and sizes with it, but no content
// of other files.
func (d *disk) commitJournal() {
	d.t.Helper()
	file, err := os.Create(filepath.Join(d.mountpoint, ".journal"))
	noError(d.t, err)
	defer file.Close()
	_, err = file.WriteString("synced")
	noError(d.t, err)
	noError(d.t, file.Sync())
}
