package remote

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// How long an agent may take, where it may be waiting for a person to unlock it,
// for a touch or a click; and when the person is told that it is waited for.
const (
	agentTimeout = 2 * time.Minute
	agentNotice  = 3 * time.Second
)

var errAgentSilent = fmt.Errorf("the agent did not answer within %v: unlock it, or touch its key", agentTimeout)

// agentKey is a key or certificate that an agent holds.
type agentKey struct {
	socket  string
	comment string
	public  ssh.PublicKey
}

// agentSocket returns the agent's socket for t, "" when there is none.
func (d *Dialer) agentSocket(t Target) string {
	switch name, isVar := strings.CutPrefix(t.Agent, "$"); {
	case t.Agent == "", t.Agent == "SSH_AUTH_SOCK":
		return os.Getenv("SSH_AUTH_SOCK")
	case strings.EqualFold(t.Agent, "none"):
		return ""
	case isVar:
		return os.Getenv(strings.Trim(name, "{}"))
	default:
		return d.expand(t.Agent)
	}
}

// agentKeys lists the agent's keys, asked once per socket, also where several
// logins want to know at once. An agent that is not there or broken is a note, not
// an error: there may be other keys.
func (d *Dialer) agentKeys(ctx context.Context, t Target) ([]agentKey, string) {
	socket := d.agentSocket(t)
	if socket == "" {
		return nil, ""
	}
	list := d.memory.agent(socket)
	select {
	case list.turn <- struct{}{}:
		defer func() { <-list.turn }()
	case <-ctx.Done():
		return nil, ""
	}
	if !list.asked {
		keys, err := d.listAgent(ctx, t, socket)
		switch {
		case err == nil:
			*list = agentList{turn: list.turn, asked: true, keys: keys}
		case errors.Is(err, errAgentSilent): // nobody waits for it twice
			*list = agentList{turn: list.turn, asked: true, note: fmt.Sprintf("agent at %q: %v", socket, err)}
		default:
			return nil, fmt.Sprintf("agent at %q: %v", socket, err)
		}
	}
	return list.keys, list.note
}

// agentList is what an agent said that it has.
type agentList struct {
	turn  chan struct{} // holds one token while the agent is asked
	asked bool
	keys  []agentKey
	note  string
}

func (d *Dialer) listAgent(ctx context.Context, t Target, socket string) ([]agentKey, error) {
	var keys []agentKey
	err := d.withAgent(ctx, t, socket, func(a agent.ExtendedAgent) error {
		list, err := a.List()
		if err != nil {
			return err
		}
		for _, k := range list {
			if public, err := ssh.ParsePublicKey(k.Blob); err == nil {
				keys = append(keys, agentKey{socket: socket, comment: k.Comment, public: public})
			}
		}
		return nil
	})
	return keys, err
}

// sign has the agent sign data; algo is "" or the algorithm wanted.
func (k agentKey) sign(ctx context.Context, d *Dialer, t Target, data []byte, algo string) (*ssh.Signature, error) {
	var flags agent.SignatureFlags
	switch algo {
	case ssh.KeyAlgoRSASHA256:
		flags = agent.SignatureFlagRsaSha256
	case ssh.KeyAlgoRSASHA512:
		flags = agent.SignatureFlagRsaSha512
	}
	var signature *ssh.Signature
	err := d.withAgent(ctx, t, k.socket, func(a agent.ExtendedAgent) (err error) {
		signature, err = a.SignWithFlags(k.public, data, flags)
		return err
	})
	return signature, err
}

// withAgent connects for one exchange: nothing stays open between logins.
func (d *Dialer) withAgent(ctx context.Context, t Target, socket string, do func(agent.ExtendedAgent) error) error {
	limited, cancel := context.WithTimeoutCause(ctx, agentTimeout, errAgentSilent)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(limited, "unix", socket)
	if err != nil {
		return err
	}
	slow := time.AfterFunc(agentNotice, func() { d.notice(t, "waiting for the SSH agent: it may want to be unlocked, or a key to be touched") })
	defer slow.Stop()
	stop := context.AfterFunc(limited, func() { _ = conn.Close() })
	err = do(agent.NewClient(conn))
	if !stop() {
		return context.Cause(limited)
	}
	_ = conn.Close()
	return err
}
