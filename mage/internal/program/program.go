// Package program writes programs that are about to be started.
package program

import (
	"os"
	"syscall"
)

// Write makes a file that can be executed as soon as it returns. It replaces what
// is there, and never writes through a link. Without the lock a child that another
// goroutine starts meanwhile would hold the file open for writing until it execs,
// and the kernel refuses to execute such a file with ETXTBSY
// (https://go.dev/issue/22315).
func Write(path, text string) error {
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return err
	}
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	if _, err := file.WriteString(text); err != nil {
		_ = file.Close()
		return err
	}
	return file.Close()
}
