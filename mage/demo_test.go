package mage

import (
	"bytes"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dagadbm/vps/mage/internal/term"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

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
	t.Parallel()
	out := &page{}
	ui := term.New(strings.NewReader(""), out, out)

	err := runDemo(t.Context(), ui, demoPace{lockedOut: 2 * time.Second})

	require.NoError(t, err, "%s", out)
	text := out.String()
	for _, fact := range []string{
		`made  nix/flake\.nix`,
		`gateway-token +yes +yes +openclaw`,
		`skipped +web-1: disk`,
		`pass +web-1: units`,
		`skipped +web-1: age key`,
		`web-1 +updated +1 +2`,
		`changed +modules/system\.nix`,
		`web-1 +updated +2 +3`,
		`error: web-1: nobody confirmed the new system within 2 s`,
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
