package remote

import (
	"bytes"
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// stopwatch counts round trips. In virtual time nothing takes time but the wire,
// so that time passed is the number of round trips exactly.
type stopwatch struct{ start time.Time }

const roundTrip = 100 * time.Millisecond

func (w *stopwatch) lap() float64 {
	trips := float64(time.Since(w.start)) / float64(roundTrip)
	w.start = time.Now()
	return trips
}

// farAway connects over a slow link. TCP takes one round trip for us, and the
// server hears of it half a one later.
func farAway(s *server) func(context.Context, string, string) (net.Conn, error) {
	return func(context.Context, string, string) (net.Conn, error) {
		time.Sleep(roundTrip)
		client, far := newLink(roundTrip / 2)
		s.tasks.Go(func() {
			time.Sleep(roundTrip / 2)
			s.serve(far)
		})
		return client, nil
	}
}

func TestRoundTrips(t *testing.T) {
	h := newHome(t)
	key := h.addKey("id_ed25519", "")
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		s.allowed = append(s.allowed, key)
		s.sftpDir = h.dir
		s.exec = func(c *command) {
			c.accept()
			_, _ = c.Write([]byte("out"))
			c.exit(0)
			_ = c.Close()
		}
		d := &Dialer{Home: h.dir, NetDial: farAway(s)}
		watch := stopwatch{time.Now()}

		c, err := d.Dial(t.Context(), s.pin())
		require.NoError(t, err)
		defer c.Close()
		assert.Equal(t, 7.0, watch.lap(), "TCP, version, key exchange, service, none, query, signature")

		out, err := c.Output(t.Context(), "true", nil, 10)
		require.NoError(t, err)
		assert.Equal(t, "out", string(out))
		assert.Equal(t, 2.0, watch.lap(), "channel, command: nine for the login and a command")

		c.Prepare(t.Context())
		c.PrepareSFTP(t.Context())
		_, err = c.SFTP(t.Context())
		require.NoError(t, err)
		assert.Equal(t, 3.0, watch.lap(), "channel, subsystem, version, side by side with a session")

		_, err = c.Output(t.Context(), "true", nil, 10)
		require.NoError(t, err)
		assert.Equal(t, 1.0, watch.lap(), "a prepared command")

		require.NoError(t, c.Upload(t.Context(), "small", 0o600, []byte("x")))
		assert.Equal(t, 2.0, watch.lap(), "open, write; nobody waits for the close")

		require.NoError(t, c.Upload(t.Context(), "large", 0o600, bytes.Repeat([]byte("0123456789abcdef"), 100_000)))
		assert.Equal(t, 2.0, watch.lap(), "writes are all under way at once")
	})
}

// The first login finds out which of five keys is the right one; later ones to the
// same host and to others know.
func TestRightKeyFirst(t *testing.T) {
	h := newHome(t)
	h.addKey("id_rsa", "")
	h.addKey("id_ecdsa", "")
	right := h.addKey("id_ed25519", "")
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		s.allowed = append(s.allowed, right)
		d := &Dialer{Home: h.dir, NetDial: farAway(s)}
		for _, test := range []struct {
			address string
			trips   float64
		}{{"192.0.2.1", 9}, {"192.0.2.1", 7}, {"192.0.2.2", 7}} {
			target := s.pin()
			target.Address = test.address
			watch := stopwatch{time.Now()}
			c, err := d.Dial(t.Context(), target)
			require.NoError(t, err)
			assert.Equal(t, test.trips, watch.lap(), test.address)
			require.NoError(t, c.Close())
			<-c.Done()
		}
	})
}
