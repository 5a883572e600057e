package deploy

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dagadbm/vps/mage/internal/faults"
	"github.com/dagadbm/vps/mage/internal/observe"
	"github.com/dagadbm/vps/mage/internal/program"
	"github.com/dagadbm/vps/mage/internal/term"
	"github.com/dagadbm/vps/mage/secrets"
	"github.com/dagadbm/vps/mage/vpstest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const secretArea = "secrets"

// hygiene is a project whose every secret is a canary, with all that it prints.
type hygiene struct {
	*rotator
	stdout  *buffer
	needles faults.Needles
}

func newHygiene(t *testing.T) *hygiene {
	h := &hygiene{rotator: newRotator(t, "web"), stdout: &buffer{}, needles: faults.Needles{}}
	h.log = observe.To(term.New(strings.NewReader(""), h.stdout, h.story).Observer())
	h.needles.Add("value", "canary-"+rand.Text())
	h.needles.Add("edited value", "canary-"+rand.Text())
	h.keysNow("age key")
	return h
}

// keysNow makes the age keys that are there now needles.
func (h *hygiene) keysNow(name string) {
	n := 0
	for line := range strings.Lines(string(h.keys().KeyFile())) {
		if strings.HasPrefix(line, "AGE-SECRET-KEY-") {
			n++
			h.needles.Add(fmt.Sprint(name, " ", n), line)
		}
	}
	require.NotZero(h.t, n)
}

// edit takes the place of a person with an editor: the text comes from a file, so
// that nothing of it is an argument.
func (h *hygiene) edit(t *testing.T, dir string) {
	text, err := secrets.Get(h.Dir, h.keys(), "ssh-public-key")
	require.NoError(t, err)
	values := filepath.Join(dir, "values")
	require.NoError(t, os.WriteFile(values, fmt.Appendf(nil, "ssh-public-key: %q\ngateway-token: %s\n", text, h.needles["edited value"]), 0o600))
	editor := filepath.Join(dir, "editor")
	require.NoError(t, program.Write(editor, fmt.Sprintf("#!/bin/sh\ncat %s >\"$1\"\n", values)))
	changed, err := secrets.Edit(t.Context(), h.Dir, h.keys(), secrets.EditOptions{
		Console: terminal{quiet{h.said}}, Stdin: strings.NewReader(""), Stdout: h.stdout, Stderr: h.story,
		Getenv: func(name string) string { return map[string]string{"EDITOR": editor}[name] },
	})
	require.NoError(t, err)
	assert.True(t, changed)
}

// terminal lets an editor be started.
type terminal struct{ quiet }

func (terminal) Interactive() bool { return true }

// A run of everything, with a canary in each secret and the age keys themselves:
// none is ever in arguments or the environment of a process, in the temporary
// folder, in what is printed or logged, in the project but for the key file, or
// on the server but where the key belongs.
func TestFaultsSecretsStaySecret(t *testing.T) {
	faults.Asked(t)
	if _, err := os.Stat("/proc/self/environ"); err != nil {
		t.Skip("needs /proc")
	}
	h, outside, tmp := newHygiene(t), t.TempDir(), t.TempDir()
	dump := filepath.Join(outside, "engine")
	c := newCandidate(t, fmt.Sprintf("env >>%s; head -c 4096 >/dev/null; exit 1", dump))
	stdout := &buffer{}
	c.log = observe.To(term.New(strings.NewReader(""), stdout, c.story).Observer())
	c.set("gateway-token", string(h.needles["value"]))
	ids, err := c.identities(t.Context())
	require.NoError(t, err)
	h.needles.Add("age key of bootstrap", keyLine(t, ids))
	t.Setenv("TMPDIR", tmp)

	watch := faults.Start(h.needles, tmp)
	h.everything(t, outside)
	require.Error(t, c.bootstrap(), "the played installer fails")
	require.True(t, c.ran(), "the installer was reached: %s", c.story)
	found := watch.Stop()

	h.keysNow("age key after the rotation")
	keyFile := func(path string) bool { return strings.HasPrefix(path, filepath.Join("secrets", "age-key")) }
	found = append(found, h.needles.InFiles(h.Dir, keyFile)...)
	found = append(found, h.needles.InFiles(c.Dir, keyFile)...)
	found = append(found, h.needles.InFiles(tmp, nil)...)
	onServer := func(path string) bool { return path == "var/lib/sops-nix/key.txt" }
	found = append(found, h.needles.InFiles(h.servers["web"].Root(), onServer)...)
	found = append(found, h.needles.InFiles(c.server.Root(), onServer)...)
	engine, err := os.ReadFile(dump)
	require.NoError(t, err, "the engine was called")
	calls, err := os.ReadFile(c.calls)
	require.NoError(t, err)
	for name, text := range map[string]string{
		"stdout": h.stdout.String() + stdout.String(), "stderr": h.story.String() + h.said.String() + c.story.String(),
		"the engine's arguments": string(calls), "the engine's environment": string(engine),
	} {
		for _, what := range h.needles.In([]byte(text)) {
			found = append(found, what+" in "+name)
		}
	}
	assert.Empty(t, found)
	assert.Greater(t, watch.Looks, 10)
	row := faults.Row{Area: secretArea, Case: "canaries in a run of everything, played server", Injected: len(h.needles),
		Survived: len(h.needles) - len(found), Detail: fmt.Sprintf("all processes looked at %d times", watch.Looks)}
	faults.Report(t, row)
}

func keyLine(t *testing.T, ids *secrets.Identities) string {
	for line := range strings.Lines(string(ids.KeyFile())) {
		if strings.HasPrefix(line, "AGE-SECRET-KEY-") {
			return line
		}
	}
	t.Fatal("no key")
	return ""
}

// everything is what a project's life has.
func (h *hygiene) everything(t *testing.T, outside string) {
	_, err := secrets.Set(t.Context(), h.Dir, h.keys(), "gateway-token", string(h.needles["value"]))
	require.NoError(t, err)
	h.mustUpdate("web")
	h.edit(t, outside)
	h.mustUpdate("web")
	h.behave(vpstest.System{Exit: 2})
	_, err = h.update("web", quick())
	require.Error(t, err)
	require.NoError(t, os.Remove(filepath.Join(h.Dir, "nix", vpstest.ConfFile)))
	_, err = h.Status(t.Context(), "web", 1)
	require.NoError(t, err)
	_, err = h.Diff(t.Context(), "web")
	require.NoError(t, err)
	h.check(t.Context(), nil, CheckOptions{Host: "web", Offline: true})
	_, err = h.Rollback(t.Context(), "web", back(0))
	require.NoError(t, err)
	h.mustUpdate("web")
	h.mustFinish()                                                                                         // the rotation
	_, err = secrets.Set(t.Context(), h.Dir, h.keys(), "gateway-token", string(h.needles["value"])+"\x00") // refused, and not echoed
	if err != nil {
		term.New(strings.NewReader(""), &buffer{}, h.story).Error(err)
	}
	h.log.Info("%v", h.keys()) // somebody prints them by mistake
}
