package main

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/magefile/mage/mage"
	xterm "golang.org/x/term"
)

// programOf is where the compiled targets of a project are kept: mage itself
// names them after the magefile alone, which two projects may have in common.
func programOf(inv mage.Invocation) (string, error) {
	dir, err := filepath.Abs(inv.Dir)
	if err != nil {
		return "", err
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return "", err
	}
	if err := os.MkdirAll(inv.CacheDir, 0o755); err != nil {
		return "", err
	}
	return filepath.Join(inv.CacheDir, fmt.Sprintf("vps-%x", sha256.Sum256([]byte(dir)))), nil
}

// compile compiles the targets, one start at a time: mage writes its main function
// into the folder of the magefile, and removes it again.
func compile(inv mage.Invocation, first bool) int {
	defer tell(first)()
	unlock, err := lock(inv)
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		return 1
	}
	defer unlock()
	defer interrupted(inv)()
	return mage.Invoke(inv)
}

// lock keeps starts in the same folder apart. The kernel gives it up with the
// process.
func lock(inv mage.Invocation) (unlock func(), err error) {
	name, err := programOf(inv)
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(name+".lock", os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock the compiled targets: %w", err)
	}
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		if err != syscall.EINTR {
			_ = f.Close()
			return nil, fmt.Errorf("lock the compiled targets: %w", err)
		}
	}
}

// mainFile is what mage writes while it compiles.
const mainFile = "mage_output_file.go"

// interrupted removes mage's file when compiling is interrupted.
func interrupted(inv mage.Invocation) (stop func()) {
	dir := inv.Dir
	if _, err := os.Stat(filepath.Join(dir, mage.MagefilesDirName)); err == nil {
		dir = filepath.Join(dir, mage.MagefilesDirName)
	}
	signals, done := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		select {
		case s := <-signals:
			_ = os.Remove(filepath.Join(dir, mainFile))
			os.Exit(128 + int(s.(syscall.Signal)))
		case <-done:
		}
	}()
	return func() {
		signal.Stop(signals)
		close(done)
	}
}

// tell says what takes the time: at once where it is minutes, else when it is longer
// than a person waits without a word.
func tell(first bool) (done func()) {
	text, wait := "looking for what changed in the sources of the targets, and compiling that", 2*time.Second
	if first {
		text, wait = "compiling the targets, once: on a new machine that downloads about 200 MB and takes some minutes", 0
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		notice(os.Stderr, text, wait, stop)
	}()
	return func() {
		close(stop)
		<-stopped
	}
}

// notice writes a text and how long it is true already, until it is stopped. On a
// terminal that is a line that changes, and goes in the end.
func notice(to *os.File, text string, wait time.Duration, stop <-chan struct{}) {
	again, begin, end := 30*time.Second, "", "\n"
	if xterm.IsTerminal(int(to.Fd())) && os.Getenv("TERM") != "dumb" {
		again, begin, end = time.Second, "\r", ""
	}
	begun, told := time.Now(), false
	for timer := time.NewTimer(wait); ; timer.Reset(again) {
		select {
		case <-stop:
			if told && end == "" {
				fmt.Fprint(to, "\r\x1b[K")
			}
			return
		case <-timer.C:
		}
		spent := ""
		if told {
			spent = fmt.Sprint(" … ", time.Since(begun).Round(time.Second))
		}
		fmt.Fprint(to, begin, text, spent, end)
		told = true
	}
}
