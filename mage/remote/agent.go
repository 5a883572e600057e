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

// How long an agent may take: to list its keys, and to sign, where it may be
// waiting for a touch or a click.
const (
	agentListTimeout = 5 * time.Second
	agentSignTimeout = 2 * time.Minute
)

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

// agentKeys lists the agent's keys, asked once per socket. An agent that is not
// there or broken is a note, not an error: there may be other keys.
func (d *Dialer) agentKeys(ctx context.Context, t Target) ([]agentKey, string) {
	socket := d.agentSocket(t)
	if socket == "" {
		return nil, ""
	}
	if keys, ok := d.memory.agentKeys(socket); ok {
		return keys, ""
	}
	keys, err := listAgent(ctx, socket)
	if err != nil {
		return nil, fmt.Sprintf("agent at %q: %v", socket, err)
	}
	d.memory.setAgentKeys(socket, keys)
	return keys, ""
}

func listAgent(ctx context.Context, socket string) ([]agentKey, error) {
	var keys []agentKey
	err := withAgent(ctx, socket, agentListTimeout, func(a agent.ExtendedAgent) error {
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
func (k agentKey) sign(ctx context.Context, data []byte, algo string) (*ssh.Signature, error) {
	var flags agent.SignatureFlags
	switch algo {
	case ssh.KeyAlgoRSASHA256:
		flags = agent.SignatureFlagRsaSha256
	case ssh.KeyAlgoRSASHA512:
		flags = agent.SignatureFlagRsaSha512
	}
	var signature *ssh.Signature
	err := withAgent(ctx, k.socket, agentSignTimeout, func(a agent.ExtendedAgent) (err error) {
		signature, err = a.SignWithFlags(k.public, data, flags)
		return err
	})
	return signature, err
}

// withAgent connects for one exchange: nothing stays open between logins.
func withAgent(ctx context.Context, socket string, limit time.Duration, do func(agent.ExtendedAgent) error) error {
	limited, cancel := context.WithTimeoutCause(ctx, limit, errors.New("the agent does not answer"))
	defer cancel()
	conn, err := new(net.Dialer).DialContext(limited, "unix", socket)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(limited, func() { _ = conn.Close() })
	err = do(agent.NewClient(conn))
	if !stop() {
		return context.Cause(limited)
	}
	_ = conn.Close()
	return err
}
