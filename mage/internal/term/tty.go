package term

import (
	"context"
	"fmt"

	"golang.org/x/sys/unix"
)

// pollEvery is how long a cancelled question may take to notice, in
// microseconds.
const pollEvery = 50_000

// waitReadable returns when fd has something to read, or ctx is done: a read
// from a terminal cannot be cancelled, and one that is left behind would steal
// what is typed for the next program. It uses select(2), because poll(2) does
// not know terminals on macOS.
func waitReadable(ctx context.Context, fd int) error {
	if fd < 0 || fd >= unix.FD_SETSIZE {
		return fmt.Errorf("wait for input: the descriptor %d is out of range", fd)
	}
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		var set unix.FdSet
		set.Set(fd)
		n, err := unix.Select(fd+1, &set, nil, nil, &unix.Timeval{Usec: pollEvery})
		if err != nil && err != unix.EINTR {
			return fmt.Errorf("wait for input: %w", err)
		}
		if n > 0 {
			return nil
		}
	}
}

// hideInput stops the terminal from showing what is typed. Lines are still
// edited, and Ctrl-C is still a signal. restore undoes it; discard throws away
// what was typed and not read, or half a password would end up in the shell.
func hideInput(fd int) (restore func(discard bool), err error) {
	before, err := unix.IoctlGetTermios(fd, getTermios)
	if err != nil {
		return nil, err
	}
	hidden := *before
	hidden.Lflag &^= unix.ECHO
	hidden.Lflag |= unix.ICANON | unix.ISIG
	hidden.Iflag |= unix.ICRNL
	if err := unix.IoctlSetTermios(fd, setTermios, &hidden); err != nil {
		return nil, err
	}
	return func(discard bool) {
		request := uint(setTermios)
		if discard {
			request = setTermiosFlush
		}
		_ = unix.IoctlSetTermios(fd, request, before)
	}, nil
}
