package next

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/magefile/mage/mg"
)

// Caller is how a person calls the targets.
type Caller struct {
	Program string // as it is typed: "mage", "go tool mage", "./servers"
	Prefix  string // of the targets' names: "", or "vps:"
}

// Command is how a target is called.
func (c Caller) Command(target string) string { return c.Program + " " + c.Prefix + target }

// Mage is how targets are called where mage is installed and nothing is imported
// under a name.
var Mage = Caller{Program: "mage"}

// Here is how the targets of this process are called. A program that mage did not
// make (a test, a library's user) has none, and gets [Mage].
func Here() Caller {
	if !madeByMage() {
		return Mage
	}
	return ourselves()
}

// mainFile is the file that mage writes the main function of the targets to.
const mainFile = "mage_output_file.go"

// madeByMage says whether mage's main function, or one that it started, called us.
// It matters that this is certain: ourselves starts the program again.
func madeByMage() bool {
	pcs := make([]uintptr, 256)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(1, pcs)])
	for {
		frame, more := frames.Next()
		if filepath.Base(frame.File) == mainFile && strings.HasPrefix(frame.Function, "main.main") {
			return true
		}
		if !more {
			return false
		}
	}
}

var ourselves = sync.OnceValue(func() Caller {
	c := Caller{Program: program(os.Args[0])}
	if self, err := os.Executable(); err == nil {
		c.Prefix = listedPrefix(self)
		if dir, err := filepath.EvalSymlinks(mg.CacheDir()); err == nil && within(dir, self) {
			c.Program = Launcher()
		}
	}
	return c
})

// Launcher is the program that compiles and starts targets on this machine.
func Launcher() string {
	if _, err := exec.LookPath("mage"); err == nil {
		return "mage"
	}
	return "go tool mage"
}

// program is how a compiled program is called again: by its name where a shell
// found it by that, else by the path that was typed.
func program(typed string) string {
	name := filepath.Base(typed)
	if found, err := exec.LookPath(name); err == nil && sameFile(found, typed) {
		return Quote(name)
	}
	return Quote(typed)
}

func sameFile(a, b string) bool {
	one, err := os.Stat(a)
	if err != nil {
		return false
	}
	other, err := os.Stat(b)
	return err == nil && os.SameFile(one, other)
}

func within(dir, file string) bool {
	if real, err := filepath.EvalSymlinks(file); err == nil {
		file = real
	}
	name, err := filepath.Rel(dir, file)
	return err == nil && filepath.IsLocal(name)
}

// listed finds a target that nobody else has in what -l prints.
var listed = regexp.MustCompile(`(?m)^\s+(?:\x1b\[[0-9;]*m)?((?:\S+:)?)secrets:rotate\b`)

// listedPrefix asks a program of targets for its list: that alone knows under
// which name a magefile imports the targets.
func listedPrefix(program string) string {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "-l")
	cmd.Env = append(os.Environ(), "MAGEFILE_ENABLE_COLOR=false")
	list, err := cmd.Output()
	if err != nil {
		return ""
	}
	if m := listed.FindSubmatch(list); m != nil {
		return string(m[1])
	}
	return ""
}
