package deploy

import (
	"context"

	"github.com/dagadbm/vps/mage/remote"
)

// Host is a server that the project is deployed to.
type Host struct {
	Name    string
	Address string
	Port    int // where its sshd listens
	User    string
	System  System
	Tags    []string // of vps.yaml
}

// Hosts resolves HOSTS as the targets do: a name of vps.yaml, an alias of
// ssh_config, an address, @tag, all, or several with commas between them.
func (p *Project) Hosts(ctx context.Context, hosts string) ([]Host, error) {
	list, err := p.hosts(ctx, hosts)
	if err != nil {
		return nil, err
	}
	all := make([]Host, len(list))
	for i, h := range list {
		all[i] = Host{Name: h.Name, Address: h.Address, Port: h.Port, User: h.User, System: System(h.System)}
		if entry := p.config.Lookup(h.Name); entry != nil {
			all[i].Tags = entry.Tags
		}
	}
	return all, nil
}

// Names are the hosts that vps.yaml lists, in its order.
func (p *Project) Names() []string { return p.config.Names() }

// Words are the words that HOSTS may be, for a shell to complete: names, tags as
// @tag, all, and the aliases of ssh_config.
func (p *Project) Words() []string {
	words := p.Names()
	if known, ok := p.resolver.(interface{ Known() []string }); ok {
		words = known.Known()
	}
	for _, tag := range p.config.Tags() {
		words = append(words, "@"+tag)
	}
	return append(words, "all")
}

// Login logs in to a host as the workflows do: the same names, keys and checks of
// its host key. The caller closes the client.
func (p *Project) Login(ctx context.Context, host string) (*remote.Client, error) {
	h, err := p.host(ctx, host)
	if err != nil {
		return nil, err
	}
	client, err := p.Dialer.Dial(ctx, h.Target)
	if err != nil {
		return nil, connectFailure(h.Name, err)
	}
	return client, nil
}
