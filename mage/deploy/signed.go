package deploy

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/dagadbm/vps/mage/internal/git"
	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/dagadbm/vps/mage/internal/trust"
)

// verifySigned wants the commit that is deployed to be signed by somebody on the
// list that vps.yaml names. Both come with the repository, so the list that was
// confirmed on this machine counts: another one, or none where there was one, is
// asked about.
func (p *Project) verifySigned(ctx context.Context, pre *prepared, yes bool) error {
	record, err := trust.Load(ctx, p.Dir)
	if err != nil {
		return err
	}
	list, err := p.signers()
	if err != nil || list == nil && len(record.Signers) == 0 {
		return err
	}
	if err := p.confirmSigners(ctx, list, record, yes); err != nil || list == nil {
		return err
	}
	switch {
	case pre.git.Commit == "":
		return next.With(fmt.Errorf("vps.yaml asks for signed commits (%s), and nothing is committed", p.config.Signers), next.Shell("git", "commit", "-S"))
	case pre.git.Dirty:
		return next.With(fmt.Errorf("vps.yaml asks for signed commits (%s), and what would be deployed is not what commit %s has", p.config.Signers, short(pre.git.Commit)),
			next.Say("commit or undo the changes that %s shows", next.Shell("git", "status")))
	}
	who, err := git.In(p.Dir).VerifyCommit(ctx, pre.git.Commit, list)
	var unsigned *git.NotSignedError
	if errors.As(err, &unsigned) {
		return next.With(err, next.Say("have somebody on the list (%s) sign a commit on top of it: %s", p.config.Signers, next.Shell("git", "commit", "-S", "--allow-empty")))
	}
	if err != nil {
		return fmt.Errorf("checking who signed commit %s: %w", short(pre.git.Commit), err)
	}
	p.log.Info("commit %s is signed by %s", short(pre.git.Commit), who)
	return nil
}

// signers reads the list; nil where none is asked for.
func (p *Project) signers() ([]byte, error) {
	if p.config.Signers == "" {
		return nil, nil
	}
	data, err := os.ReadFile(filepath.Join(p.Dir, filepath.FromSlash(p.config.Signers)))
	if err != nil {
		return nil, next.With(fmt.Errorf("reading the signers that vps.yaml names: %w", err), next.Words("restore the file, or correct signers: in vps.yaml"))
	}
	return data, nil
}

// confirmSigners asks about a list that is not the confirmed one, and remembers it.
func (p *Project) confirmSigners(ctx context.Context, list []byte, record trust.Record, yes bool) error {
	name := "none"
	if list != nil {
		sum := sha256.Sum256(list)
		name = hex.EncodeToString(sum[:])
	}
	if slices.Contains(record.Signers, name) {
		return nil
	}
	text := fmt.Sprintf("the list %s (SHA-256 %.12s…)", p.config.Signers, name)
	if list == nil {
		text = "that commits need no signature any more: vps.yaml names no signers"
	}
	if !yes {
		err := trust.Confirm(ctx, person{p.log}, trust.Question{
			Doing: "deploying",
			What:  "would decide from now on whose commits are deployed",
			Items: []trust.Item{{Name: name, Text: text}},
			Ask:   "Is that meant?",
			No:    next.Say("See who changed it: %s.", next.Shell("git", "log", "-p", "--", "vps.yaml", p.config.Signers)),
			Flag:  &next.Command{Target: "update", Args: []string{"HOSTS", "-yes"}},
		}, nil)
		if err != nil {
			return err
		}
	}
	return trust.Change(ctx, p.Dir, func(r *trust.Record) { r.Signers = []string{name} })
}
