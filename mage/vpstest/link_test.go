package vpstest_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"

	"github.com/dagadbm/vps/mage/vpstest"
)

func TestCutAfterBytes(t *testing.T) {
	t.Parallel()
	for _, bytes := range []int64{1, 21, 500, 1500, 3000} {
		t.Run(fmt.Sprint(bytes), func(t *testing.T) {
			t.Parallel()
			var cuts atomic.Int32
			s := vpstest.Start(t, vpstest.WithLinks(func(n int) vpstest.Link {
				link := vpstest.Link{OnCut: func() { cuts.Add(1) }}
				switch n {
				case 1:
					link.CutSent = bytes
				case 2:
					link.CutReceived = bytes
				}
				return link
			}))
			for range 2 {
				client, err := dialPort(s, s.Port())
				if err == nil {
					err = exchange(t, client, 9000)
					_ = client.Close()
				}
				assert.Error(t, err)
			}
			client := dial(t, s)
			assert.Equal(t, "alive\n", runCommand(t, client, command("echo alive")))
			seen := s.Connections()
			require.Len(t, seen, 3)
			assert.Equal(t, bytes, seen[0].Sent)
			assert.Equal(t, bytes, seen[1].Received)
			assert.EqualValues(t, 2, cuts.Load())
			assert.Positive(t, seen[2].Turns)
		})
	}
}

// exchange sends that many bytes each way: whatever the handshake took, there
// are enough to be cut in.
func exchange(t *testing.T, client *ssh.Client, bytes int) error {
	t.Helper()
	session, err := client.NewSession()
	if err != nil {
		return err
	}
	defer session.Close()
	session.Stdin = strings.NewReader(strings.Repeat("x", bytes))
	out, err := session.Output(fmt.Sprintf("head -c %d /dev/zero; cat >/dev/null", bytes))
	if err == nil && len(out) < bytes {
		return io.ErrUnexpectedEOF // the status may come before the output
	}
	return err
}

func TestLoginIsRefused(t *testing.T) {
	t.Parallel()
	s := vpstest.Start(t, vpstest.WithLink(vpstest.Link{RefuseLogin: true}))
	_, err := dialPort(s, s.Port())
	assert.ErrorContains(t, err, "unable to authenticate")
	s.SetLinks(func(n int) vpstest.Link { return vpstest.Link{Refuse: n == 2, StrangeKey: n == 3} })
	_, err = dialPort(s, s.Port())
	assert.Error(t, err)
	_, err = dialPort(s, s.Port())
	assert.ErrorContains(t, err, "host key mismatch")
	dial(t, s)
}

func TestSilence(t *testing.T) {
	t.Parallel()
	s := vpstest.Start(t, vpstest.WithLink(vpstest.Link{Silent: true}))
	raw, err := net.Dial("tcp", s.Addr())
	require.NoError(t, err)
	defer raw.Close()
	_, err = raw.Write([]byte("SSH-2.0-test\r\n"))
	require.NoError(t, err)
	require.NoError(t, raw.SetReadDeadline(time.Now().Add(50*time.Millisecond)))
	_, err = raw.Read(make([]byte, 1))
	var timeout net.Error
	require.ErrorAs(t, err, &timeout)
	assert.True(t, timeout.Timeout())
}

func TestGreetingAndBanner(t *testing.T) {
	t.Parallel()
	s := vpstest.Start(t, vpstest.WithLink(vpstest.Link{Greeting: []byte("hello\r\n"), Banner: "no trespassing\n"}))
	raw, err := net.Dial("tcp", s.Addr())
	require.NoError(t, err)
	defer raw.Close()
	start := make([]byte, 12)
	_, err = io.ReadFull(raw, start)
	require.NoError(t, err)
	assert.Equal(t, "hello\r\nSSH-2", string(start))
	var banner string
	client, err := ssh.Dial("tcp", s.Addr(), &ssh.ClientConfig{User: "root",
		Auth: []ssh.AuthMethod{ssh.PublicKeys(s.ClientKey())}, HostKeyCallback: ssh.FixedHostKey(s.HostKey()),
		BannerCallback: func(text string) error { banner = text; return nil }})
	require.NoError(t, err)
	defer client.Close()
	assert.Equal(t, "no trespassing\n", banner)
}

// Endless output, garbage instead of facts: the test itself plays the program.
func TestAnswersOfATest(t *testing.T) {
	t.Parallel()
	ended := make(chan error, 1)
	s := vpstest.Start(t, vpstest.WithLink(vpstest.Link{
		Exec: func(line string, stdin io.Reader, stdout, stderr io.Writer) (int, bool) {
			switch line {
			case "endless":
				_, err := io.Copy(stdout, endless{})
				ended <- err
				return 0, true
			case "garbage":
				text, _ := io.ReadAll(stdin)
				fmt.Fprintf(stdout, "\x1b[2J%s", text)
				return 3, true
			}
			return 0, false
		}}))
	client := dial(t, s)
	assert.Equal(t, "real\n", runCommand(t, client, command("echo real")))

	session, err := client.NewSession()
	require.NoError(t, err)
	session.Stdin = strings.NewReader("asked")
	out, err := session.Output("garbage")
	var exit *ssh.ExitError
	require.ErrorAs(t, err, &exit)
	assert.Equal(t, 3, exit.ExitStatus())
	assert.Equal(t, "\x1b[2Jasked", string(out))

	session, err = client.NewSession()
	require.NoError(t, err)
	stdout, err := session.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, session.Start("endless"))
	_, err = io.ReadFull(stdout, make([]byte, 1<<20))
	require.NoError(t, err)
	require.NoError(t, client.Close())
	assert.Error(t, <-ended)
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return copy(p, bytes.Repeat([]byte("x"), len(p))), nil }

// A far server answers after a round trip, and what is sent side by side comes
// back side by side.
func TestRoundTrips(t *testing.T) {
	t.Parallel()
	const rtt = 40 * time.Millisecond
	s := vpstest.Start(t, vpstest.WithLink(vpstest.Link{RTT: rtt}))
	begin := time.Now()
	client := dial(t, s)
	login := s.RoundTrips()
	assert.GreaterOrEqual(t, login, 4, "TCP, key exchange, login")
	assert.LessOrEqual(t, login, 9)
	assert.GreaterOrEqual(t, time.Since(begin), time.Duration(login-1)*rtt)

	s.ResetRoundTrips()
	begin = time.Now()
	ok, _, err := client.SendRequest("ping", true, nil)
	require.NoError(t, err)
	assert.False(t, ok)
	assert.GreaterOrEqual(t, time.Since(begin), rtt)
	assert.Equal(t, 1, s.RoundTrips())

	s.ResetRoundTrips()
	answers := make(chan error, 10)
	for range cap(answers) {
		go func() {
			_, _, err := client.SendRequest("ping", true, nil)
			answers <- err
		}()
	}
	for range cap(answers) {
		require.NoError(t, <-answers)
	}
	// x/crypto sends global requests one after the other.
	assert.Equal(t, cap(answers), s.RoundTrips())

	// A busy machine may keep one of two things from being side by side.
	fewest := 100
	for range 5 {
		s.ResetRoundTrips()
		first, second := sideBySide(client)
		assert.Equal(t, []string{"1\n", "2\n"}, []string{first, second})
		fewest = min(fewest, s.RoundTrips())
	}
	assert.LessOrEqual(t, fewest, 4, "two sessions cost what one does")
}

func sideBySide(client *ssh.Client) (string, string) {
	answers := make([]chan string, 2)
	for i := range answers {
		answers[i] = make(chan string, 1)
		go func() {
			session, err := client.NewSession()
			if err != nil {
				answers[i] <- err.Error()
				return
			}
			defer session.Close()
			out, _ := session.Output(fmt.Sprintf("echo %d", i+1))
			answers[i] <- string(out)
		}()
	}
	return <-answers[0], <-answers[1]
}

func TestMuchDataOverAFarLink(t *testing.T) {
	t.Parallel()
	s := vpstest.Start(t, vpstest.WithLink(vpstest.Link{RTT: 10 * time.Millisecond}))
	client := dial(t, s)
	content := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	upload(t, client, "big", content)
	assert.True(t, string(content) == s.ReadFile("root/big"), "it arrives whole and in order")
	assert.True(t, string(content) == runCommand(t, client, command("cat big")), "in the other direction too")
}

func TestCutFromNowOn(t *testing.T) {
	t.Parallel()
	s := vpstest.Start(t)
	assert.False(t, s.CutAfter(1, 10, 0), "nobody is there yet")
	client := dial(t, s)
	before := s.Connections()[0].Sent
	require.True(t, s.CutAfter(1, 10, 0))
	_, err := client.NewSession()
	assert.Error(t, err)
	assert.Equal(t, before+10, s.Connections()[0].Sent)
}
