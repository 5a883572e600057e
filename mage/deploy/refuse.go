package deploy

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dagadbm/vps/mage/internal/config"
	"github.com/dagadbm/vps/mage/internal/facts"
	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/dagadbm/vps/mage/internal/run"
)

// systems maps what uname says to our names for it.
var systems = map[string]string{"x86_64": "x86", "aarch64": "arm"}

// refuseHost finds what makes a host unfit for any run of ours.
func refuseHost(h config.Host, f run.Facts) error {
	switch {
	case !f.NixOS:
		return refused(h.Name, next.Say("%s installs NixOS on it (erases its disk)", next.Target("bootstrap", h.Name)),
			"the server does not run NixOS but %q", f.OS)
	case f.UID != 0 && f.Current != "" && len(f.ReadOnly) > 0:
		return refused(h.Name, next.Words("log in as root, or as a user with passwordless sudo, doas or run0"), "not root there (uid %d)", f.UID)
	case len(f.ReadOnly) > 0:
		return refused(h.Name, next.Words("mount it writable, then run this again"), "cannot write to %s", strings.Join(f.ReadOnly, ", "))
	}
	switch f.TreeKind {
	case run.TreeDir, run.TreeMissing:
	default:
		return refused(h.Name, next.Words("replace it by a plain folder, then run this again"),
			"/etc/nixos is a %s there, which cannot be exchanged in one step", treeKindName(f.TreeKind))
	}
	return refuseArch(h, f)
}

// refuseLacking finds the programs that a run needs and that are not there. Going back
// builds nothing.
func refuseLacking(h config.Host, f run.Facts, kind run.Kind) error {
	lacks := slices.DeleteFunc(slices.Clone(f.Lacks), func(p string) bool { return kind == run.KindRollback && p == "nixos-rebuild" })
	if len(lacks) == 0 {
		return nil
	}
	step := next.Words("add what is missing to environment.systemPackages, and run nixos-rebuild switch on the server")
	if slices.Contains(lacks, "nixos-rebuild") {
		step = next.Say("go back to a system that has it: %s; then take system.disableInstallerTools out of nix/", next.Target("rollback", h.Name))
	}
	return refused(h.Name, step, "the server's system lacks %s, which a run needs", strings.Join(lacks, ", "))
}

func treeKindName(k run.TreeKind) string {
	switch k {
	case run.TreeSymlink:
		return "symlink"
	case run.TreeMount:
		return "mount point"
	}
	return "file"
}

func refuseArch(h config.Host, f run.Facts) error {
	system := systems[f.Arch]
	switch {
	case system == "":
		return refused(h.Name, next.Words("use a server with an x86 or arm processor"), "unknown architecture %q", f.Arch)
	case h.System != "" && h.System != system:
		return refused(h.Name, next.Say("write system: %s for it in vps.yaml", system),
			"vps.yaml says system %q, the server is %q (%s)", h.System, system, f.Arch)
	}
	return nil
}

// refuseBusy finds who else holds the server.
func refuseBusy(h config.Host, f run.Facts) error {
	switch {
	case f.Holder != nil:
		return &Failure{Host: h.Name, Code: CodeBusy, Now: "that run goes on; nothing else was changed",
			Err:  fmt.Errorf("another run holds the server: %s", holderText(f.Holder)),
			Next: next.Say("wait for it, or cancel it with: %s", next.Target("rollback", h.Name))}
	case f.Upgrade.Running():
		return &Failure{Host: h.Name, Code: CodeBusy, Now: asItWas,
			Err:  fmt.Errorf("the server's own upgrade is running (nixos-upgrade.service)"),
			Next: next.Say("wait until it is done (%s), then run this again", next.Target("status", h.Name))}
	}
	return nil
}

func holderText(o *run.Holder) string {
	text := fmt.Sprintf("%s of tree %s by %s from %s since %s", cmp.Or(o.Action, "a run"), short(o.Digest), o.Who, o.From,
		o.Since.Local().Format("15:04:05"))
	if o.Commit != "" {
		text += ", commit " + short(o.Commit)
	}
	if o.Status.Phase != "" {
		text += ", now " + o.Status.Phase
	}
	return text
}

const (
	minFreeNix = 512 << 20 // a system with a new kernel does not fit in less
	minFreeEtc = 8 << 20
)

// refuseUpdate finds what speaks against sending this tree to this host.
func (p *Project) refuseUpdate(ctx context.Context, h config.Host, pre *prepared, f run.Facts, force bool) error {
	for _, check := range []func() error{
		func() error { return refuseSpace(h, pre, f) },
		func() error { return refuseOutput(h, pre, f) },
		func() error { return p.refuseMissing(ctx, h.Name, pre.tree, pre.facts(output(h, f)).Secrets) },
		func() error { return refuseKey(h, pre, f) },
		func() error { return p.refuseCommit(ctx, h, pre, f, force) },
		func() error { return refuseOlder(h, pre, f, force) },
	} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func refuseSpace(h config.Host, pre *prepared, f run.Facts) error {
	small := minFreeEtc + 4*pre.tree.Size()
	for _, s := range []struct {
		path       string
		free, need int64
	}{
		{"/nix/store", f.FreeNix, minFreeNix},
		{"/etc", f.FreeEtc, small},
		{"/var/lib/vps", f.FreeState, small},
	} {
		if s.free < s.need {
			return refused(h.Name, next.Say("free some: ssh in and run %s", next.Shell("nix-collect-garbage", "--delete-older-than", "14d")),
				"too little space for %s: %d MB free, %d MB needed", s.path, s.free>>20, s.need>>20)
		}
	}
	return nil
}

// output names the flake output that a host is built from.
func output(h config.Host, f run.Facts) string {
	return cmp.Or(h.Flake, "vps-"+systems[f.Arch])
}

func refuseOutput(h config.Host, pre *prepared, f run.Facts) error {
	want := output(h, f)
	outputs, known := pre.kept.Outputs(pre.digest)
	if !known || slices.Contains(outputs, want) {
		return nil
	}
	return &Failure{Host: h.Name, Code: CodeUsage, Now: asItWas,
		Err:  &facts.NoOutputError{Output: want, Has: outputs},
		Next: next.Words("add it to nixosConfigurations, or name another one as flake: in vps.yaml")}
}

// refuseOlder: the server upgrades its nixpkgs by itself every night; an older
// lock would take its security patches away.
func refuseOlder(h config.Host, pre *prepared, f run.Facts, force bool) error {
	day, rev, ok := f.NixpkgsDate()
	if !ok || force || pre.lock == nil {
		return nil
	}
	pin, ok := pre.lock.Nixpkgs()
	// Nix writes 0 or 1 for a folder that has no date of its own.
	if !ok || pin.LastModified.Unix() <= 1 || rev != "" && strings.HasPrefix(pin.Rev, rev) {
		return nil
	}
	locked := pin.LastModified.UTC().Truncate(24 * time.Hour)
	if !day.After(locked) {
		return nil
	}
	return refused(h.Name, next.Say("%s brings the lock up to date; -force deploys the older one", next.Target("lock", "-input=nixpkgs")),
		"the server runs nixpkgs of %s, newer than flake.lock's of %s: this would undo its security patches",
		day.Format("2006-01-02"), locked.Format("2006-01-02"))
}

// short cuts a hash for a person.
func short(hash string) string {
	if len(hash) > 12 {
		return hash[:12]
	}
	return hash
}
