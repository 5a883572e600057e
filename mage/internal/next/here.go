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
	"sync/atomic"
	"time"

	"github.com/dagadbm/vps/mage/internal/childenv"
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

// made remembers that mage made this program.
var made atomic.Bool

// Know looks whether mage made this program, for goroutines that were started by
// others than its main function. A target calls it first.
func Know() { madeByMage() }

// madeByMage says whether mage's main function, or one that it started, called us
// or did so before. It matters that this is certain: ourselves starts the program
// again.
func madeByMage() bool {
	if made.Load() {
		return true
	}
	pcs := make([]uintptr, 256)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(1, pcs)])
	for {
		frame, more := frames.Next()
		if filepath.Base(frame.File) == mainFile && strings.HasPrefix(frame.Function, "main.main") {
			made.Store(true)
			return true
		}
		if !more {
			return false
		}
	}
}

// ourselves is how the targets of this program are called, if mage made it.
var ourselves = sync.OnceValue(func() Caller {
	c := Caller{Program: program(os.Args[0])}
	self, err := os.Executable()
	if err != nil {
		return c
	}
	if dir, err := filepath.EvalSymlinks(mg.CacheDir()); err == nil && within(dir, self) {
		c.Program = Launcher()
	}
	for _, name := range Listed() {
		// A target that nobody else has.
		if prefix, ok := strings.CutSuffix(strings.ToLower(name), "secrets:rotate"); ok {
			c.Prefix = prefix
		}
	}
	return c
})

// Compiled is [Here] for those who know that mage made this program.
func Compiled() Caller { return ourselves() }

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

// Listed are the targets that this program lists, which mage must have made: it
// is started again. That program alone knows under which name a magefile imports
// the targets, and beside which others.
var Listed = sync.OnceValue(func() []string {
	self, err := os.Executable()
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, self, "-l")
	cmd.Env = append(childenv.Clean(), "MAGEFILE_ENABLE_COLOR=false")
	list, err := cmd.Output()
	if err != nil {
		return nil
	}
	var names []string
	for _, m := range listed.FindAllStringSubmatch(string(list), -1) {
		names = append(names, m[1])
	}
	return names
})

var listed = regexp.MustCompile(`(?m)^ {2}(?:\x1b\[[0-9;]*m)*([A-Za-z][\w:]*)`)
