package run

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dagadbm/vps/mage/remote"
)

// A good system must not be taken back because its ports are those behind a router,
// nor because one of two possible ports is another machine's.
func TestPortsOfANewSystem(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		declared, at, took int
		built              Built
		want               []int
	}{
		"stays":                        {2222, 2222, 2222, Built{Ports: []int{2222}, Sure: true}, []int{2222}},
		"moves":                        {2222, 2222, 2222, Built{Ports: []int{4444}, Sure: true}, []int{4444}},
		"moves, says sshd_config":      {2222, 2222, 2222, Built{Ports: []int{4444}}, []int{4444, 2222}},
		"unknown":                      {2222, 22, 22, Built{}, []int{2222, 22}},
		"of several the declared":      {2222, 22, 22, Built{Ports: []int{22, 2222}, Sure: true}, []int{2222}},
		"forwarded":                    {8022, 8022, 22, Built{Ports: []int{22}, Sure: true}, []int{8022}},
		"forwarded, moves behind":      {8022, 8022, 22, Built{Ports: []int{2222}, Sure: true}, []int{8022, 2222}},
		"server does not say its port": {2222, 2222, 0, Built{Ports: []int{4444}, Sure: true}, []int{4444}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := &Link{Name: "web", Port: c.declared}
			l.Use(noConn{}, c.at)
			l.tookOn(c.took)
			f := NewFollower(l, "id", ActionSwitch, Deadlines{Confirm: time.Second, Switch: time.Minute}, nobody{})
			assert.Equal(t, c.want, f.newPorts(c.built))
		})
	}
}

func TestAPortOfAnotherMachineIsLeftAlone(t *testing.T) {
	t.Parallel()
	var dialled []int
	l := &Link{Name: "web", Port: 8022, Login: func(_ context.Context, port int) (Conn, error) {
		dialled = append(dialled, port)
		if port == 22 {
			return nil, &remote.HostKeyMismatchError{}
		}
		return noConn{}, nil
	}}
	f := NewFollower(l, "id", ActionSwitch, Deadlines{Confirm: time.Second, Switch: time.Minute}, nobody{})
	_, port, err := f.newLogin(t.Context(), []int{22, 8022})
	require.NoError(t, err)
	assert.Equal(t, 8022, port)
	assert.Equal(t, []int{22, 8022}, dialled)

	_, _, err = f.newLogin(t.Context(), []int{22})
	var mismatch *remote.HostKeyMismatchError
	assert.ErrorAs(t, err, &mismatch, "the only port: nothing goes on")
}
