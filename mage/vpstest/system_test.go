package vpstest

import (
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func fullSystem() System {
	return System{
		BuildFails: "a \"quoted\"\nerror", BuildTime: 1500 * time.Millisecond, BuildLines: 3,
		Outputs: []string{"web", "db"}, Version: "26.05", Kernel: 1 << 30,
		Inhibited: "dbus", Hang: Forever, Stall: time.Millisecond, Exit: 100, Early: true, Output: "a=b\n",
		BootFails: true, SSH: SSHDropped, Port: 2222, Missing: []string{"/run/secrets/a"},
		Units:    []Unit{{Name: "a.service"}, {"b.service", "auto-restart", time.Second, "openclaw", time.Minute, true}},
		FillDisk: true, LeaveFails: 2,
	}
}

func TestConfHoldsEverySetting(t *testing.T) {
	t.Parallel()
	parsed, err := parseSystem(fullSystem().Conf())
	require.NoError(t, err)
	assert.Equal(t, fullSystem(), parsed)
	assert.Empty(t, System{}.Conf())
}

func TestBadConf(t *testing.T) {
	t.Parallel()
	for text, message := range map[string]string{
		"exit=4":                      "is not quoted",
		"# a\nnothing=\"1\"":          `vpstest.conf:2: unknown setting "nothing"`,
		`exit="many"`:                 "invalid syntax",
		`unit="web.service"`:          "a unit is",
		`unit="a failed x y 0 false"`: "invalid syntax",
	} {
		_, err := parseSystem(text)
		assert.ErrorContains(t, err, message, text)
	}
}

func FuzzParseSystem(f *testing.F) {
	f.Add(fullSystem().Conf())
	f.Add("exit=4\n")
	f.Fuzz(func(t *testing.T, text string) {
		system, err := parseSystem(text)
		if err != nil {
			return
		}
		again, err := parseSystem(system.Conf())
		require.NoError(t, err)
		assert.Equal(t, system.Conf(), again.Conf())
	})
}

func TestSecretsOfATree(t *testing.T) {
	t.Parallel()
	tree := fstest.MapFS{"secrets/secrets.yaml": {Data: []byte(
		"# comment: x\ntoken: ENC[a]\n\"quoted\": ENC[b]\n  nested: c\nsops:\n    mac: d\n../etc: e\n")}}
	system := System{Missing: []string{"/run/secrets-for-users/token"}}
	assert.Equal(t, []string{"/run/secrets/token", "/run/secrets/quoted", "/run/secrets-for-users/quoted"},
		system.secrets(tree))
	assert.Empty(t, System{}.secrets(fstest.MapFS{}))
}

func TestServiceFlags(t *testing.T) {
	t.Parallel()
	unit, err := parseService([]string{"--quiet", "--collect", "--unit=x", "--on-active=60s", "--property=Restart=on-failure",
		"--property=RestartSec=1s", "--timer-property=AccuracySec=100ms", "--setenv=A=b=c", "/bin/sh", "-c", "--unit=no"})
	require.NoError(t, err)
	assert.Equal(t, service{name: "x", argv: []string{"/bin/sh", "-c", "--unit=no"}, env: []string{"A=b=c"},
		restart: true, pause: time.Second, delay: time.Minute, timer: true}, unit)
	_, err = parseService([]string{"--unit=x"})
	assert.ErrorContains(t, err, "command line")
	_, err = parseService([]string{"--no-such-flag", "true"})
	assert.ErrorContains(t, err, "unrecognized option")
	_, err = parseService([]string{"--on-active=soon", "true"})
	assert.Error(t, err)
}
