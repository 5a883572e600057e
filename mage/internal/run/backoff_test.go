package run

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/dagadbm/vps/mage/remote"
	"github.com/stretchr/testify/assert"
)

// A run waits to be confirmed while its sshd comes back: whatever time that took,
// it is not held up by our waiting for it.
func TestARefusedPortIsAskedAgainSoon(t *testing.T) {
	t.Parallel()
	refused := fmt.Errorf("login: %w", &remote.UnreachableError{Reason: remote.ReasonRefused, Err: errors.New("refused")})
	closed := &remote.UnreachableError{Reason: remote.ReasonClosed, Err: errors.New("closed")}
	b := NewBackoff()
	for range 100 {
		assert.LessOrEqual(t, b.afterTry(refused, 0), 150*time.Millisecond)
	}
	for range 10 {
		b.afterTry(closed, 0)
	}
	assert.GreaterOrEqual(t, b.afterTry(closed, 0), time.Second, "sshd counts those who come and do not log in")
	assert.GreaterOrEqual(t, b.afterTry(refused, 1), time.Second, "each try would be a login on the jump host")
	assert.LessOrEqual(t, b.afterTry(refused, 0), 150*time.Millisecond)
}
