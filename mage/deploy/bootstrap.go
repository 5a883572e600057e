package deploy

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/dagadbm/vps/mage/internal/bootstrap"
	"github.com/dagadbm/vps/mage/internal/config"
	"github.com/dagadbm/vps/mage/internal/facts"
	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/dagadbm/vps/mage/internal/observe"
	"github.com/dagadbm/vps/mage/remote"
)

// BootstrapOptions are the flags of bootstrap. The zero value of each but Yes
// leaves the choice to vps.yaml, to the server, or to what is usual.
type BootstrapOptions struct {
	Address string // where the server is, in place of what HOST says
	System  System
	Port    int // SSH port of the system that is there now; 0 is 22
	BuildOn BuildOn
	HostKey string // fingerprint ("SHA256:…") of the system that is there now
	Yes     bool   // wipe without asking
}

// Installed is a server that bootstrap made ours.
type Installed struct {
	Host       string
	Login      string // the ssh command that logs in
	Output     string // flake output that was installed
	Generation int
	HostKey    string // fingerprint
	Pinned     string // where the host key is written down
	Log        string // of the installer; "" if an earlier run installed
}

// Bootstrap makes a NixOS of ours out of any Linux server, and wipes its disk on
// the way. It can be called again wherever it ended.
func (p *Project) Bootstrap(ctx context.Context, host string, o BootstrapOptions) (*Installed, error) {
	var pre *prepared
	b := &bootstrap.Project{
		Dir: p.Dir, Config: p.config, Dialer: p.Dialer, Prompter: prompter{p.log}, Log: p.log, Who: p.Who, From: p.From, InstallerPort: p.installerPort, Host: p.host,
		Prepare: func(ctx context.Context) (_ *bootstrap.Prepared, err error) {
			if pre, err = p.prepare(ctx); err != nil {
				return nil, err
			}
			again := next.Command{Target: "bootstrap", Args: []string{host, "-yes"}}
			if err := p.confirmLogins(ctx, &pre.consent, pre.report.LoginKeys(), o.Yes, again); err != nil {
				return nil, usage(err)
			}
			return p.preparedToInstall(ctx, pre), nil
		},
		Update: func(ctx context.Context, d *remote.Dialer, h config.Host) (int, error) {
			return p.firstUpdate(ctx, pre, d, h)
		},
	}
	installed, err := b.Run(ctx, host, bootstrap.Options{
		Address: o.Address, System: string(o.System), Port: o.Port, BuildOn: string(o.BuildOn), HostKey: o.HostKey, Yes: o.Yes,
	})
	return (*Installed)(installed), bootstrapFailure(err)
}

func (p *Project) preparedToInstall(ctx context.Context, pre *prepared) *bootstrap.Prepared {
	return &bootstrap.Prepared{
		Tree: facts.ContainerFiles(pre.tree), Identities: pre.ids, Recipients: pre.recipients, Source: pre.tree.Source,
		Locked: pre.lock != nil, Warnings: pre.warning,
		Evaluate: func(ctx context.Context, log io.Writer, outputs ...string) (*facts.Answer, error) {
			return p.evaluate(ctx, pre.tree, log, facts.Question{Outputs: outputs})
		},
		Missing: func(h facts.Host) error { return p.refuseMissing(ctx, "", pre.tree, h.Secrets) },
	}
}

// firstUpdate brings the tree, the record and the watchdog's unit, which the
// installer knows nothing of.
func (p *Project) firstUpdate(ctx context.Context, pre *prepared, d *remote.Dialer, h config.Host) (int, error) {
	own := *p
	own.Dialer = d
	results := own.fleet(ctx, []config.Host{h}, 1, func(ctx context.Context, h config.Host, line *observe.Line) Result {
		u := own.updateOf(pre, DefaultUpdate(), h, line)
		return u.run(ctx)
	})
	return results[0].After, summary(results)
}

// unfinished adds to a failure that a bootstrap of the host did not come to its end,
// which is then what there is to do.
func (p *Project) unfinished(h config.Host, err error) error {
	begun := bootstrap.Look(p.Dir, h)
	var f *Failure
	if begun == nil || !errors.As(err, &f) {
		return err
	}
	told := *f
	told.Now = fmt.Sprintf("%s; its bootstrap of %s is not finished: it got as far as %q", f.Now, begun.Since.Local().Format("2006-01-02 15:04"), begun.Phase)
	told.Next = next.Say("finish it: %s", next.Target("bootstrap", h.Name))
	return &told
}

// bootstrapFailure gives a failure of bootstrap the form of all others.
func bootstrapFailure(err error) error {
	var f *bootstrap.Failure
	if !errors.As(err, &f) {
		return err
	}
	code, ok := map[bootstrap.Kind]Code{
		bootstrap.Failed: CodeFailed, bootstrap.Usage: CodeUsage, bootstrap.Unreachable: CodeUnreachable,
		bootstrap.Unknown: CodeUnknown, bootstrap.Busy: CodeBusy,
	}[f.Kind]
	if !ok {
		code = codeOf(f.Err)
	}
	return &Failure{Host: f.Host, Code: code, Err: f.Err, Now: f.Now, Next: f.Next}
}

// Rows are the summary for a person.
func (i *Installed) Rows() [][]string {
	rows := [][]string{
		{"host", i.Host},
		{"system", fmt.Sprintf("NixOS %s, generation %d", i.Output, i.Generation)},
		{"log in", i.Login},
		{"host key", i.HostKey + ", pinned in " + i.Pinned},
		{"look", next.Target("status", i.Host).String()},
		{"undo", next.Say("the system before is erased; %s installs again, %s undoes later updates",
			next.Target("bootstrap", i.Host), next.Target("rollback", i.Host)).String()},
	}
	if i.Log != "" {
		rows = append(rows, []string{"log", i.Log})
	}
	return rows
}
