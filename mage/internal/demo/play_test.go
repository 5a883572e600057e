package demo_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dagadbm/vps/mage"
	"github.com/dagadbm/vps/mage/deploy"
	"github.com/dagadbm/vps/mage/internal/cmdline"
	"github.com/dagadbm/vps/mage/internal/demo"
	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// beTargets makes the test's program the targets, so that none has to be built.
const beTargets = "VPS_TEST_BE_TARGETS"

func TestMain(m *testing.M) {
	if os.Getenv(beTargets) == "" {
		os.Exit(m.Run())
	}
	err := target(context.Background(), os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "Error:", err)
	}
	os.Exit(deploy.ExitStatus(err))
}

// functions are the targets that the demo calls.
var functions = map[string]any{
	"init": mage.Init, "secrets:set": mage.Secrets{}.Set, "secrets:list": mage.Secrets{}.List, "update": mage.Update,
	"status": mage.Status, "diff": mage.Diff, "rollback": mage.Rollback, "generations": mage.Generations,
}

// target runs a target as the main function that mage writes would.
func target(ctx context.Context, args []string) error {
	targets, err := cmdline.FromSource(os.DirFS(os.Getenv(beTargets)))
	if err != nil {
		return err
	}
	line, err := (&cmdline.Reader{Targets: targets}).Read(args)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(targets, func(t cmdline.Target) bool { return t.Name == line.Args[0] })
	if i < 0 || functions[line.Args[0]] == nil {
		return fmt.Errorf("the demo calls %q, which this test does not know", line.Args[0])
	}
	in := []reflect.Value{reflect.ValueOf(ctx)}
	words, flags := line.Args[1:1+len(targets[i].Words)], line.Args[1+len(targets[i].Words):]
	for _, w := range words {
		in = append(in, reflect.ValueOf(w))
	}
	function := reflect.ValueOf(functions[line.Args[0]])
	for _, f := range targets[i].Flags {
		value := reflect.Zero(function.Type().In(len(in)))
		for _, given := range flags {
			if text, ok := strings.CutPrefix(given, "-"+f.Name+"="); ok && f.Type == "string" {
				value = reflect.ValueOf(&text)
			} else if d, err := time.ParseDuration(text); ok && err == nil {
				value = reflect.ValueOf(&d)
			}
		}
		in = append(in, value)
	}
	if err, ok := function.Call(in)[0].Interface().(error); ok {
		return err
	}
	return nil
}

// page is a writer for several goroutines.
type page struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (p *page) Write(data []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.b.Write(data)
}

func (p *page) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.b.String()
}

// The demo needs no terminal, and all of it is the real targets' work.
func TestDemoPlaysAServersWholeLife(t *testing.T) {
	sources, err := filepath.Abs("../..")
	require.NoError(t, err)
	t.Setenv(beTargets, sources)
	self, err := os.Executable()
	require.NoError(t, err)
	out := &page{}

	err = demo.Play(t.Context(), demo.Stage{Targets: []string{self}, Caller: next.Mage, Stdout: out, Stderr: out,
		Pace: demo.Pace{LockedOut: 2 * time.Second}})

	require.NoError(t, err, "%s", out)
	text := out.String()
	for _, fact := range []string{
		`made  nix/flake\.nix`,
		`echo correct-horse \| mage secrets:set gateway-token`,
		`gateway-token +yes +yes +openclaw`,
		`web-1 +updated +1 +2`,
		`changed +modules/system\.nix`,
		`web-1 +updated +2 +3`,
		`Error: web-1: nobody confirmed the new system within 2 s`,
		`exit status 3`,
		`web-1 +as committed +3`,
		`web-1 +rolled back as asked +3 +2`,
		`(?m)^2 .*running, boot default, can roll back$`,
	} {
		assert.Regexp(t, regexp.MustCompile(fact), text)
	}
	assert.NotContains(t, text, "correct-horse\n", "the value of a secret is never shown again")
	left := regexp.MustCompile(`\S+/vps-demo-\d+`).FindString(text)
	assert.NotEmpty(t, left)
	assert.NoDirExists(t, left)
}
