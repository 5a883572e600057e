package git

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
)

var fullHash = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)

// Inside reports whether the folder is in a work tree. Without git the error is
// [ErrNoGit].
func (r *Repo) Inside(ctx context.Context) (bool, error) {
	out, _, err := r.Output(ctx, "rev-parse", "--is-inside-work-tree")
	if errors.Is(err, ErrNoRepository) {
		return false, nil
	}
	return err == nil && strings.TrimSpace(string(out)) == "true", err
}

// Shallow reports whether the repository holds only the end of its history.
func (r *Repo) Shallow(ctx context.Context) (bool, error) {
	out, _, err := r.Output(ctx, "rev-parse", "--is-shallow-repository")
	return strings.TrimSpace(string(out)) == "true", err
}

// Tracks reports whether a path that matches a pattern is in the index.
func (r *Repo) Tracks(ctx context.Context, patterns ...string) (bool, error) {
	out, _, err := r.Output(ctx, append([]string{"ls-files", "-z", "--"}, patterns...)...)
	return len(out) > 0, err
}

// Ignores reports whether git ignores a path, be it tracked or not.
func (r *Repo) Ignores(ctx context.Context, path string) (bool, error) {
	return r.Ask(ctx, "check-ignore", "--quiet", "--no-index", "--", path)
}

// HasCommit reports whether the repository has the commit, on whatever branch.
// The commit is a full hash; outside git the answer is no.
func (r *Repo) HasCommit(ctx context.Context, commit string) (bool, error) {
	if !fullHash.MatchString(commit) {
		return false, fmt.Errorf("%q is not the full hash of a git commit", commit)
	}
	has, err := r.Ask(ctx, "rev-parse", "--verify", "--quiet", "--end-of-options", commit+"^{commit}")
	if Absent(err) {
		return false, nil
	}
	return has, err
}

// ContainsCommit reports whether what is checked out builds on the commit: whether
// it is HEAD or an ancestor of it. A commit that is not in the repository, or that
// is newer, is not contained; outside git the answer is no.
func (r *Repo) ContainsCommit(ctx context.Context, commit string) (bool, error) {
	if !fullHash.MatchString(commit) {
		return r.HasCommit(ctx, commit) // which says what is wrong
	}
	contains, err := r.Ask(ctx, "merge-base", "--is-ancestor", commit, "HEAD")
	if err == nil {
		return contains, nil
	}
	if Absent(err) {
		return false, nil
	}
	// To a commit that is not there, git says what it says to a broken repository.
	if has, unknown := r.HasCommit(ctx, commit); unknown == nil && !has {
		return false, nil
	}
	return false, err
}

// Object is one that a search found.
type Object struct {
	ID      string
	Commits []string // those that brought it, newest first; none if nothing leads to it
}

// Search looks through all files, commits and tags that any branch, tag, stash or
// reflog leads to, and gives those that match. It reads objects and not
// differences, so that no attribute or setting of the repository hides one. A
// repository with a part of its history missing is an error.
func (r *Repo) Search(ctx context.Context, match func(data []byte) bool) ([]Object, error) {
	if shallow, err := r.Shallow(ctx); err != nil || shallow {
		if err == nil {
			err = ErrShallow
		}
		return nil, err
	}
	names, err := r.objects(ctx)
	if err != nil {
		return nil, err
	}
	found, err := r.matching(ctx, names, match)
	if err != nil {
		return nil, err
	}
	for i := range found {
		if found[i].Commits, err = r.bringing(ctx, found[i].ID); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// ErrShallow means that the clone holds only the end of the history.
var ErrShallow = errors.New("a shallow clone has only the end of the history")

// objects lists the objects that anything leads to.
func (r *Repo) objects(ctx context.Context) ([]byte, error) {
	out, _, err := r.Output(ctx, "rev-list", "--objects", "--no-object-names", "--all", "--reflog")
	return out, err
}

func (r *Repo) matching(ctx context.Context, names []byte, match func([]byte) bool) (found []Object, err error) {
	cmd, complaints, err := r.command(ctx, nil, []string{"cat-file", "--batch", "--buffer"})
	if err != nil {
		return nil, err
	}
	cmd.Stdin = bytes.NewReader(names)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, r.failure(ctx, "cat-file", complaints.String(), err)
	}
	found, err = readBatch(out, match)
	if err != nil {
		_ = cmd.Process.Kill()
	}
	if end := cmd.Wait(); err == nil && end != nil {
		err = r.failure(ctx, "cat-file", complaints.String(), end)
	}
	return found, err
}

// A large object is looked at piece by piece; the pieces overlap by more than what
// is looked for.
const (
	pieceSize = 16 << 20
	overlap   = 16 << 10
)

// readBatch reads what cat-file --batch writes: "ID TYPE SIZE", the content, and
// a line end.
func readBatch(from io.Reader, match func([]byte) bool) (found []Object, err error) {
	lines := bufio.NewReaderSize(from, 1<<16)
	for {
		header, err := lines.ReadString('\n')
		if errors.Is(err, io.EOF) && header == "" {
			return found, nil
		}
		if err != nil {
			return nil, fmt.Errorf("git's list of objects breaks off: %w", err)
		}
		fields := strings.Fields(header)
		if len(fields) != 3 {
			return nil, fmt.Errorf("object %.40q is not in this clone", strings.TrimSpace(header))
		}
		size, err := strconv.ParseInt(fields[2], 10, 64)
		if err != nil || size < 0 {
			return nil, fmt.Errorf("git's list of objects has the size %.40q", fields[2])
		}
		hit, err := matches(lines, size, fields[1] != "tree", match)
		if err == nil {
			_, err = io.CopyN(io.Discard, lines, 1)
		}
		if err != nil {
			return nil, fmt.Errorf("git's list of objects breaks off: %w", err)
		}
		if hit {
			found = append(found, Object{ID: fields[0]})
		}
	}
}

// matches reads size bytes to their end and says whether a piece of them matches.
func matches(from io.Reader, size int64, look bool, match func([]byte) bool) (bool, error) {
	if !look {
		_, err := io.CopyN(io.Discard, from, size)
		return false, err
	}
	hit := false
	var piece []byte
	for size > 0 {
		kept := len(piece)
		more := int(min(size, pieceSize))
		piece = append(piece, make([]byte, more)...)
		if _, err := io.ReadFull(from, piece[kept:]); err != nil {
			return false, err
		}
		size -= int64(more)
		hit = hit || match(piece)
		piece = append([]byte(nil), piece[max(0, len(piece)-overlap):]...)
	}
	return hit, nil
}

// bringing are the commits that have an object first, or took it away.
func (r *Repo) bringing(ctx context.Context, id string) ([]string, error) {
	out, _, err := r.Output(ctx, "log", "--all", "--reflog", "--full-history", "-m", "--no-textconv", "--no-ext-diff",
		"--no-color", "--no-renames", "--find-object="+id, "--format=%H")
	if err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	var commits []string
	for line := range strings.Lines(string(out)) {
		if line = strings.TrimSpace(line); line != "" && !seen[line] {
			seen[line] = true
			commits = append(commits, line)
		}
	}
	return commits, nil
}

// File is the content of a file in a commit; ok is false where there is none.
func (r *Repo) File(ctx context.Context, commit, path string) (data []byte, ok bool, err error) {
	out, _, err := r.Output(ctx, "cat-file", "blob", commit+":./"+path)
	var failed *Error
	if errors.As(err, &failed) && strings.Contains(failed.Stderr, "does not exist in") {
		return nil, false, nil
	}
	return out, err == nil, err
}

// Versions are the commits that changed a file, newest first, those that removed it
// too.
func (r *Repo) Versions(ctx context.Context, path string) ([]string, error) {
	out, _, err := r.Output(ctx, "rev-list", "--all", "--full-history", "--", path)
	if err != nil {
		return nil, err
	}
	return strings.Fields(string(out)), nil
}
