package demo_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dagadbm/vps/mage"
	"github.com/dagadbm/vps/mage/deploy"
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
	err := target(context.Background(), os.Args[1], os.Args[2:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "Error:", err)
	}
	os.Exit(deploy.ExitStatus(err))
}

// target runs a target as the main function that mage writes would.
func target(ctx context.Context, name string, args []string) error {
	flags, words := map[string]string{}, []string{""}
	for _, arg := range args {
		if flag, ok := strings.CutPrefix(arg, "-"); ok {
			key, value, _ := strings.Cut(flag, "=")
			flags[key] = value
		} else {
			words = append(words, arg)
		}
	}
	last := words[len(words)-1]
	duration := func(key string) *time.Duration {
		d, err := time.ParseDuration(flags[key])
		if err != nil {
			return nil
		}
		return &d
	}
	switch name {
	case "init":
		key := flags["sshkey"]
		return mage.Init(ctx, nil, &key)
	case "secrets:set":
		return mage.Secrets{}.Set(ctx, last, nil, nil)
	case "secrets:list":
		return mage.Secrets{}.List(ctx, nil, nil)
	case "update":
		return mage.Update(ctx, last, nil, duration("confirm"), nil, duration("settle"), nil, nil, nil)
	case "status":
		return mage.Status(ctx, last, nil)
	case "diff":
		return mage.Diff(ctx, last)
	case "rollback":
		return mage.Rollback(ctx, last, nil, nil)
	case "generations":
		return mage.Generations(ctx, last, nil)
	}
	return fmt.Errorf("the demo calls %q, which this test does not know", name)
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
	t.Setenv(beTargets, "1")
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
