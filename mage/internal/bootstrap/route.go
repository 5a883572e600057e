package bootstrap

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/dagadbm/vps/mage/internal/config"
	"github.com/dagadbm/vps/mage/internal/container"
	"github.com/dagadbm/vps/mage/remote"
)

// route is how the container reaches the server: directly, or through ports of
// this machine that lead there.
type route struct {
	network         string
	address         string
	port, kexecPort int // kexecPort 0: the usual one
	forwards        []*remote.Forward
}

func (r *route) close() {
	for _, f := range r.forwards {
		_ = f.Close()
	}
}

// installerPort is where the installer's own system listens, whatever the port of
// the system before it was.
func (b *installation) installerPort() int { return cmp.Or(b.p.InstallerPort, 22) }

// route finds the way. Jump hosts need our logins, an address on our loopback
// means another machine in a container, and an engine's usual network has no IPv6.
func (b *installation) route(ctx context.Context, stage container.Stage) (*route, error) {
	h := b.link.host
	address, direct := reachable(ctx, h)
	if direct {
		return &route{network: b.p.Config.Install.Network, address: address, port: b.link.port}, nil
	}
	access, err := b.engine.HostAccess(ctx)
	if err != nil {
		return nil, fmt.Errorf("the container cannot reach %s by itself: %w", h.Address, err)
	}
	r := &route{network: access.Network, address: access.Address}
	ports := []int{b.link.port}
	if stage == container.StageInstaller {
		ports = append(ports, b.installerPort())
	}
	for _, port := range ports {
		t := b.link.target(port)
		f, err := b.dialer.Forward(ctx, t)
		if err != nil {
			r.close()
			return nil, fmt.Errorf("forward a port to %s: %w", t.Addr(), err)
		}
		r.forwards = append(r.forwards, f)
	}
	r.port = r.forwards[0].Addr().Port
	if len(r.forwards) > 1 {
		r.kexecPort = r.forwards[1].Addr().Port
	}
	return r, nil
}

// reachable gives the address that a container can use, which does not know this
// machine's own names, and says whether it can use one at all.
func reachable(ctx context.Context, h config.Host) (string, bool) {
	if len(h.Jumps) > 0 {
		return "", false
	}
	if ip, err := netip.ParseAddr(h.Address); err == nil {
		return h.Address, usableAddress(ip)
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	list, err := net.DefaultResolver.LookupNetIP(ctx, "ip", h.Address)
	if err != nil {
		return h.Address, true // our own connection got there; it may, too
	}
	for _, ip := range list {
		if usableAddress(ip) {
			return ip.Unmap().String(), true
		}
	}
	return "", false
}

func usableAddress(ip netip.Addr) bool { return ip.Unmap().Is4() && !ip.Unmap().IsLoopback() }
