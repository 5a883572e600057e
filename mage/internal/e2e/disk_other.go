//go:build !linux

package e2e

import "testing"

// disk exists on Linux only: it needs ext4 and loop devices.
type disk struct{ mountpoint string }

func newDisk(t testing.TB, _ string) *disk {
	t.Helper()
	t.Fatal("a server on a disk of its own needs Linux")
	return nil
}

func (*disk) write(map[string]string) {}
func (*disk) recover()                {}
func (*disk) cutPower(bool)           {}
