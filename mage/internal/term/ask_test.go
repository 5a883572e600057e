package term

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// typed is a UI at which a person has typed something.
func typed(text string) (*UI, *buffer) {
	story := new(buffer)
	return New(strings.NewReader(text), new(buffer), story, WithTerminal(80, 24), WithEnv(env("NO_COLOR", "1"))), story
}

func TestConfirm(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"y\n": true, "Yes\n": true, " YES \r\n": true, "y": true,
		"\n": false, "n\n": false, "yep\n": false, "": false, "no\ny\n": false,
	} {
		u, story := typed(text)
		got, err := u.Confirm(context.Background(), "Go on \x1b[8mor not?")
		require.NoError(t, err, text)
		assert.Equal(t, want, got, text)
		assert.Equal(t, "Go on or not? [y/N] ", strings.TrimSuffix(story.String(), "\n"))
	}
}

func TestAskTyped(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{"web-1\n": true, " web-1 \n": true, "web-2\n": false, "WEB-1\n": false, "y\n": false, "\n": false, "": false} {
		u, story := typed(text)
		got, err := u.AskTyped(context.Background(), "This wipes the disk.", "web-1")
		require.NoError(t, err, text)
		assert.Equal(t, want, got, text)
		assert.Contains(t, story.String(), "This wipes the disk.\nType \"web-1\" to go on: ")
	}
}

func TestLine(t *testing.T) {
	t.Parallel()
	u, story := typed("abort\r\n\nlast")
	for _, want := range []string{"abort", "", "last"} {
		got, err := u.Line(t.Context(), "Go on? ")
		require.NoError(t, err)
		assert.Equal(t, want, got)
	}
	_, err := u.Line(t.Context(), "Go on? ")
	require.ErrorIs(t, err, io.EOF)
	assert.Contains(t, story.String(), "Go on? ")
}

func TestPassword(t *testing.T) {
	t.Parallel()
	u, story := typed("  with blanks \nnext\n")
	got, err := u.Password(context.Background(), "Passphrase: ")
	require.NoError(t, err)
	assert.Equal(t, "  with blanks ", string(got))
	got, err = u.Password(context.Background(), "Passphrase: ")
	require.NoError(t, err)
	assert.Equal(t, "next", string(got))
	_, err = u.Password(context.Background(), "Passphrase: ")
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	assert.ErrorContains(t, err, "Passphrase: no answer")
	assert.Equal(t, strings.Repeat("Passphrase: \n", 3), story.String())
}

func TestAnswersAreBounded(t *testing.T) {
	t.Parallel()
	u, _ := typed(strings.Repeat("x", maxAnswer+1) + "\n")
	_, err := u.Password(context.Background(), "Passphrase: ")
	assert.ErrorContains(t, err, "longer than 4096 bytes")
}

func TestQuestionsWithoutATerminal(t *testing.T) {
	t.Parallel()
	u, _, story := piped()
	ctx := context.Background()
	_, err := u.Confirm(ctx, "Go on?")
	require.ErrorIs(t, err, ErrNoTerminal)
	assert.EqualError(t, err, `cannot ask "Go on? [y/N]": there is no terminal`)
	_, err = u.AskTyped(ctx, "This wipes the disk.", "web-1")
	require.ErrorIs(t, err, ErrNoTerminal)
	_, err = u.Password(ctx, "Passphrase: ")
	require.ErrorIs(t, err, ErrNoTerminal)
	assert.Empty(t, story.String())
}

func TestQuestionsWaitForOneAnother(t *testing.T) {
	t.Parallel()
	in, write := io.Pipe()
	defer write.Close()
	story := new(buffer)
	u := New(in, story, story, WithTerminal(80, 24), WithEnv(noEnv))
	answers := make(chan bool, 2)
	for range 2 {
		go func() {
			yes, _ := u.Confirm(context.Background(), "Go on?")
			answers <- yes
		}()
	}
	for range 2 {
		_, err := io.WriteString(write, "y\n")
		require.NoError(t, err)
		assert.True(t, <-answers)
	}
	assert.Equal(t, 2, strings.Count(story.String(), "Go on?"))

	u.asking <- struct{}{} // somebody else is asking, and takes their time
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := u.Confirm(ctx, "Go on?")
	assert.ErrorIs(t, err, context.Canceled)
}

func TestLiveLinesMakeRoomForQuestions(t *testing.T) {
	t.Parallel()
	in, write := io.Pipe()
	s := newScreen(t, 40, 10)
	u := New(in, s, s, WithTerminal(40, 10), WithEnv(env("NO_COLOR", "1")))
	p := u.Progress("a", "b")
	a := p.Host("a")
	a.Phase("connect")
	u.Info("a remark") // draws
	done := make(chan error, 1)
	go func() {
		_, err := u.Password(context.Background(), "Passphrase: ")
		done <- err
	}()
	_, err := io.WriteString(write, "x") // returns when the question reads
	require.NoError(t, err)
	assert.Equal(t, "a remark\nPassphrase:", s.text())
	a.Phase("build")
	u.Info("said meanwhile")
	assert.Equal(t, "a remark\nPassphrase:", s.text())
	_, err = io.WriteString(write, "\n")
	require.NoError(t, err)
	require.NoError(t, <-done)
	p.Close()
	assert.Equal(t, "a remark\nPassphrase:\nsaid meanwhile\na   0:00  build\n", s.text())
}

// terminal opens a pseudo-terminal: what is written to keyboard is typed at
// the UI, and what it shows is read from there.
func terminal(t *testing.T) (u *UI, keyboard, tty *os.File) {
	t.Helper()
	keyboard, tty, err := pty.Open()
	if err != nil {
		t.Skipf("no pseudo-terminals here: %v", err)
	}
	t.Cleanup(func() { tty.Close(); keyboard.Close() })
	return New(tty, tty, tty, WithEnv(env("NO_COLOR", "1"))), keyboard, tty
}

func echoes(t *testing.T, tty *os.File) bool {
	t.Helper()
	state, err := unix.IoctlGetTermios(int(tty.Fd()), getTermios)
	require.NoError(t, err)
	return state.Lflag&unix.ECHO != 0
}

// awaitText reads what the terminal shows until the text is there.
func awaitText(t *testing.T, r *bufio.Reader, text string) string {
	t.Helper()
	var seen strings.Builder
	for !strings.HasSuffix(seen.String(), text) {
		b, err := r.ReadByte()
		require.NoError(t, err)
		seen.WriteByte(b)
	}
	return seen.String()
}

func TestPasswordIsNotShown(t *testing.T) {
	t.Parallel()
	u, keyboard, tty := terminal(t)
	shown := bufio.NewReader(keyboard)
	type result struct {
		password []byte
		err      error
	}
	done := make(chan result, 1)
	go func() {
		password, err := u.Password(context.Background(), "Passphrase: ")
		u.Info("end")
		done <- result{password, err}
	}()
	awaitText(t, shown, "Passphrase: ")
	require.Eventually(t, func() bool { return !echoes(t, tty) }, 5*time.Second, time.Millisecond)
	_, err := keyboard.WriteString("hunter2x\x7f\n") // with a typing error, taken back
	require.NoError(t, err)
	assert.Equal(t, "\r\nend", awaitText(t, shown, "end"))
	r := <-done
	require.NoError(t, r.err)
	assert.Equal(t, "hunter2", string(r.password))
	assert.True(t, echoes(t, tty))
}

// Ctrl-C cancels the context of the caller. The terminal must echo again, and
// what was typed so far must not be left to the shell.
func TestCancelledPasswordRestoresTheTerminal(t *testing.T) {
	t.Parallel()
	u, keyboard, tty := terminal(t)
	shown := bufio.NewReader(keyboard)
	ctx, cancel := context.WithCancelCause(context.Background())
	done := make(chan error, 1)
	go func() {
		_, err := u.Password(ctx, "Passphrase: ")
		done <- err
	}()
	awaitText(t, shown, "Passphrase: ")
	require.Eventually(t, func() bool { return !echoes(t, tty) }, 5*time.Second, time.Millisecond)
	_, err := keyboard.WriteString("hunt")
	require.NoError(t, err)
	cancel(errors.New("interrupted"))
	require.ErrorIs(t, <-done, context.Canceled)
	assert.True(t, echoes(t, tty))

	answer := make(chan bool, 1)
	go func() {
		yes, _ := u.Confirm(context.Background(), "Go on?")
		answer <- yes
	}()
	awaitText(t, shown, "[y/N] ")
	_, err = keyboard.WriteString("y\n")
	require.NoError(t, err)
	assert.True(t, <-answer, "the beginning of the password is gone")
}

func TestEndOfInputOnATerminal(t *testing.T) {
	t.Parallel()
	u, keyboard, _ := terminal(t)
	_, err := keyboard.WriteString("\x04")
	require.NoError(t, err)
	yes, err := u.Confirm(context.Background(), "Go on?")
	require.NoError(t, err)
	assert.False(t, yes)
}
