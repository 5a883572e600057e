package run

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// errRejected is a new system that was looked at and found wanting.
type errRejected struct{ why string }

func (e errRejected) Error() string { return e.why }

// verify makes a NEW login on a port of the new system, looks at the system from
// there, and confirms or rejects it. The old connection proves nothing: sshd keeps
// serving it whatever became of its configuration. All that a run does on a server it
// does over a login and one shell of it, as this look does: what is proved is that the
// next run can be done. A login that drops before the verdict was taken is made again
// while there is time.
func (f *Follower) verify(ctx context.Context, built Built) error {
	ctx, cancel := context.WithTimeoutCause(ctx, f.limits.Confirm+latest, errors.New("the time for confirming is over"))
	defer cancel()
	wait := NewBackoff()
	for {
		err := f.lookOnce(ctx, built)
		if !errors.Is(err, errBrokeOff) || wait.Wait(ctx) != nil {
			return err
		}
	}
}

// errBrokeOff is a look at the new system that ended before its verdict.
var errBrokeOff = errors.New("the look at the new system broke off")

func (f *Follower) lookOnce(ctx context.Context, built Built) error {
	ports := f.newPorts(built)
	f.story.now("confirming: new login on " + portsText(ports))
	conn, port, err := f.newLogin(ctx, ports)
	if err != nil {
		return fmt.Errorf("no new login on %s: %w", portsText(ports), err)
	}
	defer func() { _ = conn.Close() }()
	f.port.Store(int32(port))
	f.story.now("confirming: a new login works; watching its units")
	return f.probe(ctx, conn, built.Secrets)
}

func portsText(ports []int) string {
	text := strings.Trim(strings.ReplaceAll(fmt.Sprint(ports), " ", ", "), "[]")
	if len(ports) == 1 {
		return "port " + text
	}
	return "ports " + text
}

// probe runs the look at the new system and answers it with the verdict.
func (f *Follower) probe(ctx context.Context, conn Conn, secrets []string) error {
	fresh := &Link{Bounds: f.link.Bounds}
	fresh.Use(conn, 0)
	s := fresh.session(ctx, f.link.Shell.Probe(f.id, f.limits.Settle, secrets...))
	defer s.Stop()
	var e Evidence
	for {
		line, err := s.line(ctx)
		if err != nil {
			return errors.Join(errBrokeOff, err)
		}
		done, err := e.Add(line)
		if err != nil {
			return err
		}
		if done {
			break
		}
	}
	for _, u := range e.Others {
		f.story.now("in trouble, but not declared by the new system: " + oneLine(u.String()))
	}
	verdict := e.Verdict(f.Known...)
	if verdict == "" {
		var err error
		if verdict, err = f.unhealthy(ctx, conn); err != nil {
			return err
		}
	}
	return f.give(ctx, s, verdict)
}

// give tells the verdict, and waits until it was taken.
func (f *Follower) give(ctx context.Context, s *Session, verdict string) error {
	if verdict == "" {
		s.order(verdictConfirm)
	} else {
		s.order(verdictReject, oneLine(verdict))
	}
	for {
		line, err := s.line(ctx)
		switch {
		case err != nil:
			return errors.Join(errBrokeOff, err)
		case line != answerConfirmed && line != answerRejected:
		case verdict != "":
			return errRejected{verdict}
		default:
			return nil
		}
	}
}

// oneLine keeps a text of a server's from becoming a second line.
func oneLine(s string) string {
	return cut(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s), 500)
}

// judged handles the end of a verification. A failed one is passed on over the
// old connection, if there still is one, so that nobody waits for the deadline.
func (f *Follower) judged(ctx context.Context, s *Session, err error) {
	switch {
	case err == nil:
		f.story.now("confirmed")
	case errors.As(err, new(errRejected)):
		f.story.now("rejected: " + err.Error())
	case ctx.Err() != nil:
	default:
		f.story.now("not confirmed: " + err.Error())
		f.refused = err
		s.order(orderCancel, oneLine(err.Error()))
	}
}

// conclusion is the end of the run. The server knows at best that nobody confirmed
// it; why we did not is what the person needs, whoever was first to go back.
func (f *Follower) conclusion() Status {
	end := *f.end
	switch sick := f.Unhealthy(); {
	case sick != nil:
		end.Message = healthText(sick)
	case f.refused != nil && turnedDown(end):
		end.Message = f.refused.Error()
	}
	return end
}

// turnedDown: the server went back because nobody confirmed the new system.
func turnedDown(end Status) bool {
	back := end.Result() == ResultRolledBack || end.Result() == ResultRebooted
	return back && (end.Fields[FieldReason] == ReasonRejected || end.Fields[FieldReason] == ReasonUnconfirmed)
}
