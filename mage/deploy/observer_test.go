package deploy

import (
	"context"
	"testing"

	"github.com/dagadbm/vps/mage/internal/observe"
	"github.com/stretchr/testify/assert"
)

// listener is what listens in this package, as callers know it.
type listener struct{ o observe.Observer }

func (l listener) Observe(e Event) {
	l.o.Observe(observe.Event{Kind: observe.Kind(e.Kind), Host: e.Host, Text: e.Text, Data: e.Data, Hosts: e.Hosts, Err: e.Err})
}
func (l listener) Interactive() bool { return l.o.Interactive() }
func (l listener) Ask(ctx context.Context, q Question) (string, error) {
	return l.o.Ask(ctx, observe.Question{Want: observe.Want(q.Want), Text: q.Text, Word: q.Word})
}

func TestNilObserverHearsNothingAndDecidesNothing(t *testing.T) {
	t.Parallel()
	log := logTo(nil)
	log.Warn("nobody hears this")
	assert.False(t, log.Interactive())
	ok, err := log.Confirm(t.Context(), "Go on?")
	assert.False(t, ok)
	assert.ErrorIs(t, err, ErrNobody)
}
