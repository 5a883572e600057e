package deploy

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dagadbm/vps/mage/internal/bootstrap"
	"github.com/dagadbm/vps/mage/internal/config"
	"github.com/dagadbm/vps/mage/internal/facts"
	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/dagadbm/vps/mage/internal/run"
	"github.com/dagadbm/vps/mage/remote"
)

const (
	minFreeBoot = 64 << 20 // one more kernel with its initrd
	maxSkew     = time.Minute
	certMargin  = 14 * 24 * time.Hour // a renewal that works happens 30 days before
)

// host looks at servers, side by side, for everything that an update, or a
// bootstrap, would refuse.
func (c *checker) host(ctx context.Context) (l findings) {
	switch {
	case c.o.Host == "":
		return nil
	case c.unread != nil:
		l.skip(c.o.Host, "vps.yaml is not understood")
		return l
	}
	if c.o.Host == "all" && len(c.p.config.Hosts) == 0 {
		return nil
	}
	hosts, err := c.p.hosts(ctx, c.o.Host)
	if err != nil {
		l.err(c.o.Host, err, next.Words("name a host of vps.yaml"))
		return l
	}
	found := make([]findings, len(hosts))
	places := make(chan struct{}, DefaultUpdate().Parallel)
	var wg sync.WaitGroup
	for i, h := range hosts {
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			look := &hostCheck{checker: c, h: h}
			look.run(ctx)
			for _, f := range look.findings {
				f.Name = h.Name + ": " + f.Name
				found[i] = append(found[i], f)
			}
		})
	}
	wg.Wait()
	return slices.Concat(found...)
}

// hostCheck looks at one host.
type hostCheck struct {
	*checker
	findings
	h    config.Host
	link *link
}

func (c *hostCheck) run(ctx context.Context) {
	if !c.reach(ctx) {
		return
	}
	defer c.link.Close()
	began := time.Now()
	q := run.FactsQuery{AgeKey: defaultAgeKey, Manifest: true, Units: true}
	age := c.declares(c.h.KnownOutput()).Age
	if pre, err := c.prepared(); age == nil && err == nil { // what Nix said earlier of this very tree
		age = pre.facts(c.h.KnownOutput()).Age
	}
	if age != nil {
		q.AgeKey, q.SSHKeys = cmp.Or(age.KeyFile, defaultAgeKey), age.SSHKeyPaths
	}
	facts, err := c.link.facts(ctx, q)
	if err != nil {
		c.err("facts", err, next.Words("log in and look whether its shell works"))
		return
	}
	c.clock(facts.Time, began, time.Now())
	c.verdict("architecture", refuseArch(c.h, facts), next.Step{}, "%s (%s)", systems[facts.Arch], facts.Arch)
	fresh := c.fresh(ctx, facts)
	if !facts.NixOS {
		c.notOurs(facts, fresh)
		return
	}
	c.system(facts)
	c.boot(facts)
	c.health(facts)
	c.inspect(ctx)
	c.deployable(ctx, facts)
}

// reach logs in: where the host is declared to be, else on port 22, where a
// server that is not ours yet answers.
func (c *hostCheck) reach(ctx context.Context) bool {
	l, err := c.p.connect(ctx, c.h)
	if err != nil && c.h.Port != 22 && isTCPUnreachable(err) {
		other := c.h
		other.Port = 22
		if again, second := c.p.connect(ctx, other); second == nil {
			l, err = again, nil
		}
	}
	if err != nil {
		name := "reachable"
		if isHostKeyProblem(err) {
			name = "host key"
		}
		c.err(name, err, next.Words("check the address and the provider's console"))
		c.skip("everything else", "no login")
		return false
	}
	c.link = l
	c.pass("reachable", "%s on port %d", c.h.Address, l.At())
	where := "known_hosts"
	if c.h.HostKey != "" {
		where = "vps.yaml"
	}
	c.pass("host key", "%s, as %s has it", l.client.Fingerprint(), where)
	return true
}

func isTCPUnreachable(err error) bool {
	var unreachable *remote.UnreachableError
	return errors.As(err, &unreachable)
}

func isHostKeyProblem(err error) bool {
	var mismatch *remote.HostKeyMismatchError
	return errors.As(err, &mismatch)
}

// clock compares the server's clock, which told the time between two moments.
func (c *hostCheck) clock(theirs, before, after time.Time) {
	skew := time.Duration(0)
	if theirs.Before(before.Add(-time.Second)) {
		skew = before.Sub(theirs)
	} else if theirs.After(after.Add(time.Second)) {
		skew = theirs.Sub(after)
	}
	if skew > maxSkew {
		c.fail("clock", next.Say("ssh there and run: %s", next.Shell("systemctl", "restart", "systemd-timesyncd")), "differs from this machine's by %v", skew.Round(time.Second))
		return
	}
	c.pass("clock", "right to %v", max(skew.Round(time.Second), time.Second))
}

// fresh looks at what an install needs, and at the disk, which the boot loader
// needs for ever.
func (c *hostCheck) fresh(ctx context.Context, server run.Facts) run.FreshFacts {
	disks := c.declares(output(c.h, server)).Disks
	out, err := c.link.Ask(ctx, c.link.Shell.Fresh(disks))
	if err != nil {
		c.err("disk", c.link.askFailure("look at the disks", err), next.Step{})
		return run.FreshFacts{}
	}
	f, err := run.ParseFresh(bytes.NewReader(out))
	switch {
	case err != nil:
		c.err("disk", err, next.Step{})
	case len(disks) == 0:
		c.skip("disk", "what nix/ says of it is not known")
	case len(f.Missing) > 0:
		c.fail("disk", next.Words("name the right one in nix/modules/disk.nix (vps.disk)"), "the server has no disk %s; it has: %s",
			strings.Join(f.Missing, ", "), strings.Join(bootstrap.DeviceNames(f.Devices), ", "))
	default:
		c.pass("disk", "%s", strings.Join(disks, ", "))
	}
	return f
}

// notOurs is a server that only bootstrap can do something with.
func (c *hostCheck) notOurs(facts run.Facts, fresh run.FreshFacts) {
	c.skip("NixOS", "it runs %q; next: %s, which erases it", facts.OS, next.Target("bootstrap", c.h.Name))
	own := output(c.h, facts)
	if fault := bootstrap.AgeFault(own, c.declares(own)); fault != nil {
		c.err("age key", fault, bootstrap.SetKeyFile())
	}
	c.verdict("bootstrap", bootstrap.RefuseFresh(c.h.Name, fresh), next.Step{}, "the server has what the installer needs, and %d MB of memory", facts.Memory>>20)
}

// system is what every run needs.
func (c *hostCheck) system(f run.Facts) {
	err := refuseHost(c.h, f)
	if arch := refuseArch(c.h, f); err != nil && arch != nil && err.Error() == arch.Error() {
		err = nil // told already
	}
	c.verdict("NixOS", err, next.Step{}, "%s, root, and /etc/nixos can be exchanged", f.Version)
	c.verdict("programs", refuseLacking(c.h, f, run.KindUpdate), next.Step{}, "all that a run needs are there")
	if f.Memory > 0 && f.Memory < bootstrap.MinMemory {
		c.fail("memory", next.Words("take a server with 1 GB of memory or more"), "%d MB: building a system there will fail", f.Memory>>20)
	} else {
		c.pass("memory", "%d MB", f.Memory>>20)
	}
	c.verdict("free", refuseBusy(c.h, f), next.Step{}, "nobody else is at work there")
}

// boot is what the next start depends on.
func (c *hostCheck) boot(f run.Facts) {
	if f.FreeBoot < minFreeBoot {
		c.fail("/boot", next.Say("ssh there and run: %s && %s", next.Shell("nix-collect-garbage", "--delete-older-than", "14d"), next.Shell("/run/current-system/bin/switch-to-configuration", "boot")),
			"%d MB free: a new kernel needs %d MB", f.FreeBoot>>20, minFreeBoot>>20)
	} else {
		c.pass("/boot", "%d MB free", f.FreeBoot>>20)
	}
	c.port(c.declares(output(c.h, f)).SSHPorts)
}

// port: where the server listens, where it is looked for, and where the present
// tree lets it listen. An update follows a port that moves.
func (c *hostCheck) port(ports []int) {
	here := c.link.At()
	switch {
	case here != c.h.Port && c.h.PortDeclared:
		c.fail("port", next.Say("write port: %d for it in vps.yaml", here), "it answers on port %d, and is looked for on port %d", here, c.h.Port)
	case ports == nil:
		c.skip("port", "%d now; the port that nix/ gives to sshd is unknown", here)
	case len(ports) == 0:
		c.fail("port", next.Words("set services.openssh.enable = true"), "the configuration has no sshd: an update could not be confirmed")
	case !slices.Contains(ports, here):
		c.pass("port", "%d now; the next update moves it to %d, and goes along", here, ports[0])
	default:
		c.pass("port", "%d here and in nix/", here)
	}
}

// declares gives what Nix says about an output; all of it is unknown if Nix was
// not asked.
func (c *hostCheck) declares(output string) facts.Host {
	answer, err := c.answer()
	if err != nil {
		return facts.Host{}
	}
	h, _ := answer.Host(output)
	return h
}

// deployable is what an update of this tree would refuse.
func (c *hostCheck) deployable(ctx context.Context, f run.Facts) {
	pre, err := c.prepared()
	if err != nil {
		c.err("update", err, next.Target("check"))
		return
	}
	c.verdict("space", refuseSpace(c.h, pre, f), next.Step{}, "%d MB free for /nix/store, %d MB for /etc", f.FreeNix>>20, f.FreeEtc>>20)
	c.output(pre, f)
	c.ageKey(pre, f)
	c.verdict("commit", c.p.refuseCommit(ctx, c.h, pre, f, false), next.Step{}, "%s", recordText(f.Record))
	c.verdict("nixpkgs", refuseOlder(c.h, pre, f, false), next.Step{}, "flake.lock is not older than what runs there")
}

func (c *hostCheck) output(pre *prepared, f run.Facts) {
	if _, known := pre.kept.Outputs(pre.digest); !known {
		c.skip("output", "%s; whether nix/ has it is unknown", output(c.h, f))
		return
	}
	c.verdict("output", refuseOutput(c.h, pre, f), next.Step{}, "%s", output(c.h, f))
}

func (c *hostCheck) ageKey(pre *prepared, f run.Facts) {
	config := pre.facts(output(c.h, f))
	age := config.Age
	switch {
	case age == nil:
		c.skip("age key", "which key the system decrypts with is unknown")
	case age.None():
		c.skip("age key", "the configuration names none")
	case hasSharedKey(c.h, pre.ids, f):
		c.fail("age key", next.Target("secrets:rotate", "-host="+c.h.Name), "vps.yaml says ageKey: own, and the server has the age key of this machine")
	case pre.decrypts(c.h, f) == unknown:
		c.skip("age key", "whether a key of the server decrypts %s is not known on this machine", strings.Join(config.Files(), ", "))
	default:
		c.verdict("age key", refuseKey(c.h, pre, f), next.Step{}, "the server's key decrypts %s", strings.Join(config.Files(), ", "))
	}
}

func recordText(r *run.Record) string {
	switch {
	case r == nil:
		return "nothing of ours was deployed yet"
	case r.Commit == "":
		return "a tree outside git was deployed"
	}
	return "what was deployed as commit " + short(r.Commit) + " is in this checkout"
}
