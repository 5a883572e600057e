package mage

import (
	"context"

	"github.com/dagadbm/vps/mage/deploy"
	"github.com/dagadbm/vps/mage/internal/next"
)

// Lock makes or updates nix/flake.lock with Nix in a container, and prints what moved.
func Lock(ctx context.Context,
	input *string, // update this input only
) error {
	return with(ctx, func(ctx context.Context, s *session) error {
		moves, err := s.Project.Lock(ctx, or(input, ""))
		if err == nil {
			s.showMoves(moves)
		}
		return err
	})
}

func (s *session) showMoves(moves []deploy.Move) {
	if len(moves) == 0 {
		s.UI.Info("nothing moved: nix/flake.lock pins the newest revisions already")
		return
	}
	var rows [][]string
	for _, m := range moves {
		rows = append(rows, []string{m.Input, pinName(m.Old), pinDay(m.Old), pinName(m.New), pinDay(m.New)})
	}
	s.table([]string{"INPUT", "OLD", "OF", "NEW", "OF"}, rows)
	s.UI.Hint("commit nix/flake.lock, then deploy it with `%s`", next.Target("update", "HOSTS"))
}

// pinName is what is pinned: a commit, or the hash of what has none.
func pinName(p deploy.Pin) string {
	if p.Rev != "" || p.NarHash == "" {
		return dash(cut(p.Rev))
	}
	return cut(p.NarHash[min(len("sha256-"), len(p.NarHash)):])
}

func pinDay(p deploy.Pin) string {
	if p.LastModified.Unix() <= 0 {
		return "-"
	}
	return p.LastModified.UTC().Format("2006-01-02")
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
