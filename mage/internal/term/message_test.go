package term

import (
	"errors"
	"fmt"
	"math"
	"os"
	"testing"

	"github.com/creack/pty"
	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestStdoutIsTheAnswerAndStderrTheStory(t *testing.T) {
	t.Parallel()
	u, out, story := piped()
	u.Info("connecting to %s", "web-1")
	u.Success("updated")
	u.Warn("no watchdog")
	u.Hint("run `mage check`\nand read")
	u.Error(errors.New("no"))
	u.Answer("%d hosts", 2)
	_, err := u.Out().Write([]byte("secret\x00value"))
	require.NoError(t, err)
	assert.Equal(t, "2 hosts\nsecret\x00value", out.String())
	assert.Equal(t, "connecting to web-1\ndone: updated\nwarning: no watchdog\nhint: run `mage check`\nand read\nerror: no\n", story.String())
}

func TestForeignTextInMessagesIsCleaned(t *testing.T) {
	t.Parallel()
	u, out, story := piped()
	u.Info("host %s", "\x1b[2Jweb\a")
	u.Error(errors.New("web: \x1b]0;title\aboom"))
	u.Answer("%s", "\x1b[31mred")
	require.NoError(t, u.Table(nil, [][]string{{"\u202eevil", "a\nb"}}))
	assert.NotContains(t, out.String()+story.String(), "\x1b")
	assert.Equal(t, "host web\\x07\nerror: web: boom\n", story.String())
	assert.Equal(t, "red\n\\u202eevil  a\\x0ab\n", out.String())
}

// told is an error with everything that a person is told.
type told struct{ what, state, next string }

func (e told) Error() string       { return e.what }
func (e told) State() string       { return e.state }
func (e told) NextStep() next.Step { return next.Words(e.next) }

func TestErrorTellsThreeParts(t *testing.T) {
	t.Parallel()
	web := told{"the build failed", "nothing changed", "read the log"}
	db := told{"the login failed", "", "check the key"}
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"nothing":    {nil, ""},
		"plain":      {errors.New("no"), "error: no\n"},
		"three":      {web, "error: the build failed\n  state: nothing changed\n  next: read the log\n"},
		"wrapped":    {fmt.Errorf("update web-1: %w", web), "error: update web-1: the build failed\n  state: nothing changed\n  next: read the log\n"},
		"outermost":  {outer{web}, "error: outer\n  state: nothing changed\n  next: ask somebody\n"},
		"joined":     {errors.Join(web, errors.Join(db, errors.New("no"))), "error: the build failed\n  state: nothing changed\n  next: read the log\nerror: the login failed\n  next: check the key\nerror: no\n"},
		"one joined": {errors.Join(nil, db), "error: the login failed\n  next: check the key\n"},
		"wrapped joined": {fmt.Errorf("hosts: %w", errors.Join(web, db, db)),
			"error: hosts: the build failed\n    the login failed\n    the login failed\n  state: nothing changed\n  next: read the log\n  next: check the key\n"},
		"several wrapped": {fmt.Errorf("%w, then %w", web, db),
			"error: the build failed, then the login failed\n  state: nothing changed\n  next: read the log\n  next: check the key\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u, out, story := piped()
			u.Error(c.err)
			assert.Equal(t, c.want, story.String())
			assert.Empty(t, out.String())
		})
	}
}

type outer struct{ error }

func (outer) Error() string       { return "outer" }
func (outer) NextStep() next.Step { return next.Words("ask somebody") }
func (e outer) Unwrap() error     { return e.error }

func TestColour(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		terminal bool
		env      []string
		want     bool
	}{
		{"terminal", true, nil, true},
		{"pipe", false, nil, false},
		{"NO_COLOR", true, []string{"NO_COLOR", "1"}, false},
		{"empty NO_COLOR", true, []string{"NO_COLOR", ""}, true},
		{"dumb", true, []string{"TERM", "dumb"}, false},
		{"CLICOLOR=0", true, []string{"CLICOLOR", "0"}, false},
		{"CLICOLOR=1 in a pipe", false, []string{"CLICOLOR", "1"}, false},
		{"forced", false, []string{"CLICOLOR_FORCE", "1"}, true},
		{"forced off", false, []string{"CLICOLOR_FORCE", "0"}, false},
		{"forced over CLICOLOR", false, []string{"CLICOLOR_FORCE", "1", "CLICOLOR", "0"}, true},
		{"NO_COLOR over forced", true, []string{"CLICOLOR_FORCE", "1", "NO_COLOR", "1"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			options := []Option{WithEnv(env(c.env...))}
			if c.terminal {
				options = append(options, WithTerminal(80, 24))
			}
			u, _, story := piped(options...)
			u.Warn("careful")
			want := "warning: careful\n"
			if c.want {
				want = "\x1b[33mwarning: \x1b[0mcareful\n"
			}
			assert.Equal(t, want, story.String())
		})
	}
}

func TestJSON(t *testing.T) {
	t.Parallel()
	u, out, _ := piped()
	require.NoError(t, u.JSON(map[string]any{"a<b": "ü\u009b\u202e\x1b", "n": 1, "tag": "\U000e0041"}))
	assert.Equal(t, "{\n  \"a<b\": \"ü\\u009b\\u202e\\u001b\",\n  \"n\": 1,\n  \"tag\": \"\\udb40\\udc41\"\n}\n", out.String())
	assert.Error(t, u.JSON(math.NaN()))
}

func TestTable(t *testing.T) {
	t.Parallel()
	u, out, _ := piped()
	require.NoError(t, u.Table([]string{"HOST", "RESULT", "TIME"}, [][]string{
		{"web-1", "switched", "1:02"},
		{"日本", "", "0:09"},
		{"e\u0301", "failed"},
		{"", "", "", "extra"},
	}))
	assert.Equal(t, ""+
		"HOST   RESULT    TIME\n"+
		"web-1  switched  1:02\n"+
		"日本             0:09\n"+
		"e\u0301      failed\n"+
		"                       extra\n", out.String())
	require.NoError(t, u.Table(nil, nil))
}

func TestStreamsThatAreFiles(t *testing.T) {
	t.Parallel()
	terminal, tty, err := pty.Open()
	if err != nil {
		t.Skipf("no pseudo-terminals here: %v", err)
	}
	defer terminal.Close() // not by the garbage collector, half-way
	defer tty.Close()
	file, err := os.CreateTemp(t.TempDir(), "")
	require.NoError(t, err)
	defer file.Close()
	require.NoError(t, pty.Setsize(tty, &pty.Winsize{Cols: 33, Rows: 7}))
	assert.True(t, New(tty, file, tty).Interactive())
	assert.False(t, New(tty, tty, file).Interactive())
	assert.False(t, New(file, tty, tty).Interactive())
	assert.Equal(t, size{33, 7}, New(file, file, tty).size())
	assert.Equal(t, size{80, 24}, New(file, file, file).size())
	assert.Same(t, os.Stdout, Std().out)
}
