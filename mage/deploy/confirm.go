package deploy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/dagadbm/vps/mage/internal/run"
	"github.com/dagadbm/vps/mage/remote"
)

// errRejected is a new system that was looked at and found wanting.
type errRejected struct{ why string }

func (e errRejected) Error() string { return e.why }

// verify makes a NEW login on the declared port, looks at the new system from
// there, and confirms or rejects it. The old connection proves nothing: sshd
// keeps serving it whatever became of its configuration. A login that drops
// before the verdict was taken is made again while there is time.
func (f *follower) verify(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, f.confirm+time.Second, errors.New("the time for confirming is over"))
	defer cancel()
	wait := newBackoff()
	for {
		err := f.lookAnew(ctx)
		if !errors.Is(err, errBrokeOff) || wait.wait(ctx) != nil {
			return err
		}
	}
}

// errBrokeOff is a look at the new system that ended before its verdict.
var errBrokeOff = errors.New("the look at the new system broke off")

func (f *follower) lookAnew(ctx context.Context) error {
	f.line.Phase("confirming: logging in anew")
	client, _, err := f.newLogin(ctx, []int{f.link.host.Port})
	if err != nil {
		return fmt.Errorf("no new login on port %d: %w", f.link.host.Port, err)
	}
	defer func() { _ = client.Close() }()
	f.line.Phase("confirming: a new login works; watching its units")
	return f.probe(ctx, client)
}

// probe runs the look at the new system and answers it with the verdict.
func (f *follower) probe(ctx context.Context, client *remote.Client) error {
	c := f.link.shell().Probe(f.id, f.settle)
	stdin, answer := io.Pipe()
	out, in := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := client.Run(ctx, remote.Cmd{Line: c.Line, Stdin: stdin, Stdout: in})
		_ = stdin.Close() // nobody reads a verdict any more
		_ = in.CloseWithError(errors.Join(err, io.EOF))
		done <- err
	}()
	verdict, err := judge(out, answer)
	_ = answer.Close()
	_ = out.Close()
	<-done
	switch {
	case err != nil:
		return err
	case verdict != "":
		return errRejected{verdict}
	}
	return nil
}

// judge reads the evidence, writes the verdict, and waits until it was taken.
func judge(out io.Reader, answer io.Writer) (string, error) {
	var e run.Evidence
	sc := bufio.NewScanner(out)
	for sc.Scan() {
		done, err := e.Add(sc.Text())
		if err != nil {
			return "", err
		}
		if done {
			return give(sc, answer, e.Verdict())
		}
	}
	return "", errors.Join(errBrokeOff, sc.Err())
}

func give(sc *bufio.Scanner, answer io.Writer, verdict string) (string, error) {
	line := "confirm\n"
	if verdict != "" {
		line = "reject " + verdict + "\n"
	}
	if _, err := io.WriteString(answer, line); err != nil {
		return verdict, errors.Join(errBrokeOff, err)
	}
	for sc.Scan() {
		if t := sc.Text(); t == "confirmed=1" || t == "rejected=1" {
			return verdict, nil
		}
	}
	return verdict, errors.Join(errBrokeOff, sc.Err())
}

// judged handles the end of a verification. A failed one is passed on over the
// old connection, if there still is one, so that nobody waits for the deadline.
func (f *follower) judged(ctx context.Context, err error) {
	switch {
	case err == nil:
		f.line.Phase("confirmed")
	case errors.As(err, new(errRejected)):
		f.line.Phase("rejected: " + err.Error())
	case ctx.Err() != nil:
	default:
		f.line.Phase("not confirmed: " + err.Error())
		f.refused = err
		_, _ = f.link.ask(ctx, f.link.shell().Cancel(f.id))
	}
}

// conclusion is the end of the run. The server knows of a cancelled one only that
// it was cancelled; why we did is what the person needs.
func (f *follower) conclusion() run.Status {
	end := *f.end
	if f.refused != nil && end.Result() == run.ResultRolledBack && end.Fields["reason"] == "rejected" {
		end.Message = f.refused.Error()
	}
	return end
}
