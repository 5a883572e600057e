//go:build unix

package container

import (
	"os"
	"syscall"
)

// ownProcessGroup keeps a terminal's Ctrl-C away from the engine's program: it
// would pass it on to the container while we are stopping it in order.
func ownProcessGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

func terminate(process *os.Process) error { return process.Signal(syscall.SIGTERM) }

// alive says whether a process that we started has not ended.
func alive(process *os.Process) bool { return process.Signal(syscall.Signal(0)) == nil }
