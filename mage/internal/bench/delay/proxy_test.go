package delay

import (
	"bufio"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// echo answers every line with itself.
func echo(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				lines := bufio.NewReader(c)
				for {
					line, err := lines.ReadString('\n')
					if err != nil {
						return
					}
					_, _ = io.WriteString(c, line)
				}
			}()
		}
	}()
	return listener.Addr().String()
}

type client struct {
	net.Conn
	lines *bufio.Reader
}

func begin(t *testing.T, rtt time.Duration) (*Proxy, func() *client) {
	t.Helper()
	p, err := Listen(echo(t))
	require.NoError(t, err)
	t.Cleanup(func() { _ = p.Close() })
	p.SetRTT(rtt)
	return p, func() *client {
		c, err := net.Dial("tcp", p.listener.Addr().String())
		require.NoError(t, err)
		t.Cleanup(func() { _ = c.Close() })
		return &client{c, bufio.NewReader(c)}
	}
}

func (c *client) ask(t *testing.T, lines ...string) {
	t.Helper()
	_, err := io.WriteString(c, strings.Join(lines, "\n")+"\n")
	require.NoError(t, err)
	for range lines {
		_, err = c.lines.ReadString('\n')
		require.NoError(t, err)
	}
}

func TestEveryQuestionAfterAnAnswerIsARoundTrip(t *testing.T) {
	p, dial := begin(t, 20*time.Millisecond)
	began := time.Now()
	c := dial()
	c.ask(t, "one")
	assert.Equal(t, 2, p.Meter().RoundTrips(), "the connection's own, and a question")
	c.ask(t, "two", "three")
	assert.Equal(t, 3, p.Meter().RoundTrips(), "two questions at once")
	c.ask(t, "four")
	assert.Equal(t, 4, p.Meter().RoundTrips())
	assert.GreaterOrEqual(t, time.Since(began), 4*20*time.Millisecond)
	up, down := p.Bytes()
	assert.Equal(t, int64(19), up)
	assert.Equal(t, int64(19), down)
	assert.Equal(t, 4, p.Meter().Before(time.Now()))
	assert.Equal(t, 0, p.Meter().Before(began))
}

func TestConnectionsSideBySideCountOnce(t *testing.T) {
	p, dial := begin(t, 200*time.Millisecond)
	a, b := dial(), dial()
	_, _ = io.WriteString(a, "one\n")
	_, _ = io.WriteString(b, "one\n")
	_, _ = a.lines.ReadString('\n')
	_, _ = b.lines.ReadString('\n')
	assert.Equal(t, 2, p.Meter().RoundTrips())
	dial().ask(t, "after both")
	assert.Equal(t, 4, p.Meter().RoundTrips(), "a connection after an answer adds its own")
	assert.Len(t, p.Opened(), 3)
}

func TestResetBeginsAnew(t *testing.T) {
	p, dial := begin(t, 0)
	c := dial()
	c.ask(t, "one")
	p.Reset()
	c.ask(t, "an old connection")
	assert.Zero(t, p.Meter().RoundTrips())
	assert.Empty(t, p.Opened())
	dial().ask(t, "one")
	assert.Equal(t, 2, p.Meter().RoundTrips())
}

func TestTheEndArrivesToo(t *testing.T) {
	_, dial := begin(t, 10*time.Millisecond)
	c := dial()
	require.NoError(t, c.Conn.(*net.TCPConn).CloseWrite())
	_, err := c.lines.ReadByte()
	assert.ErrorIs(t, err, io.EOF)
}

func TestAServerThatIsNotThereEndsTheConnection(t *testing.T) {
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, gone.Close())
	p, err := Listen(gone.Addr().String())
	require.NoError(t, err)
	defer p.Close()
	c, err := net.Dial("tcp", p.listener.Addr().String())
	require.NoError(t, err)
	defer c.Close()
	_, err = c.Read(make([]byte, 1))
	assert.Error(t, err)
}
