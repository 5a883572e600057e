package remote

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/dagadbm/vps/mage/internal/next"
	"golang.org/x/crypto/ssh"
)

// Reason says how a server could not be reached.
type Reason string

// The reasons of an UnreachableError.
const (
	ReasonRefused  Reason = "refused"  // nothing listens on the port
	ReasonTimeout  Reason = "timeout"  // no answer in time, to TCP or as SSH
	ReasonName     Reason = "name"     // the name does not resolve
	ReasonRoute    Reason = "route"    // no route to the address
	ReasonClosed   Reason = "closed"   // closed before the login was decided
	ReasonJump     Reason = "jump"     // the jump host would not forward
	ReasonProtocol Reason = "protocol" // what answers does not speak our SSH
)

// UnreachableError reports that no login could be tried or finished.
type UnreachableError struct {
	Name, Addr string // the hop that failed: name for people, host:port
	Via        string // the jump host before it, "" for the first hop
	Reason     Reason
	Err        error
}

func (e *UnreachableError) Error() string {
	through := ""
	if e.Via != "" {
		through = " through " + e.Via
	}
	return fmt.Sprintf("connecting to %s (%s)%s: %s", e.Name, e.Addr, through, printable(e.Err.Error(), maxErrorText))
}

// Unwrap returns the cause.
func (e *UnreachableError) Unwrap() error { return e.Err }

// NextStep is the next thing to do.
func (e *UnreachableError) NextStep() next.Step {
	switch e.Reason {
	case ReasonRefused:
		return next.Words("check the port, and that sshd runs on the server")
	case ReasonTimeout:
		return next.Words("check that the server is up and that no firewall drops the port")
	case ReasonName:
		return next.Words("check the spelling of the address, or give the IP address")
	case ReasonRoute:
		return next.Words("check your own network, then the address")
	case ReasonClosed:
		return next.Words("wait a minute and try again: sshd's MaxStartups or fail2ban may be turning you away")
	case ReasonJump:
		return next.Words("check on the jump host that AllowTcpForwarding permits this address")
	default:
		return next.Words("check that the port belongs to an up-to-date SSH server")
	}
}

func unreachable(t Target, via *Client, err error) *UnreachableError {
	e := &UnreachableError{Name: t.name(), Addr: t.Addr(), Reason: reasonOf(err), Err: err}
	if via != nil {
		e.Via = via.target.name()
	}
	return e
}

func reasonOf(err error) Reason {
	var dns *net.DNSError
	var refusedByJump *ssh.OpenChannelError
	var netErr net.Error
	switch {
	case errors.As(err, &dns):
		return ReasonName
	case errors.As(err, &refusedByJump):
		return jumpReason(refusedByJump.Reason)
	case errors.Is(err, errConnectTimeout), errors.Is(err, errHandshakeTimeout), errors.Is(err, os.ErrDeadlineExceeded):
		return ReasonTimeout
	case errors.Is(err, syscall.ECONNREFUSED):
		return ReasonRefused
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return ReasonRoute
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed),
		errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, io.ErrClosedPipe):
		return ReasonClosed
	case errors.As(err, &netErr) && netErr.Timeout():
		return ReasonTimeout
	default:
		return ReasonProtocol
	}
}

func jumpReason(r ssh.RejectionReason) Reason {
	if r == ssh.ConnectionFailed {
		return ReasonRefused
	}
	return ReasonJump
}

// HostKeyMismatchError reports that a server presented another key than the one
// known for it: it was reinstalled, or something else answers in its place.
type HostKeyMismatchError struct {
	Name, Addr string
	Got        string   // type and fingerprint presented: "ssh-ed25519 SHA256:…"
	Want       []string // types and fingerprints known
	Source     string   // where the first of Want is written, "file:line" or words

	lookup      string
	pinned      bool
	notFollowed []string
}

func (e *HostKeyMismatchError) Error() string {
	return fmt.Sprintf("host key of %s (%s) is not the known one: it presents %s, but %s has %s%s",
		e.Name, e.Addr, e.Got, e.Source, strings.Join(e.Want, " and "), notFollowed(e.notFollowed))
}

// NextStep is the next thing to do.
func (e *HostKeyMismatchError) NextStep() next.Step {
	const danger = "somebody may be in between: go on only if you know why the key changed"
	if file, _, ok := strings.Cut(e.Source, ":"); ok && !e.pinned {
		return next.Say("%s, then remove the old key with: %s", danger, next.Shell("ssh-keygen", "-f", file, "-R", e.lookup))
	}
	if e.pinned {
		return next.Words(danger + ", then replace hostKey in vps.yaml")
	}
	return next.Words(danger)
}

// RevokedHostKeyError reports a key that known_hosts marks @revoked.
type RevokedHostKeyError struct {
	Name, Addr, Fingerprint, Source string
}

func (e *RevokedHostKeyError) Error() string {
	return fmt.Sprintf("host key %s of %s (%s) is revoked by %s", e.Fingerprint, e.Name, e.Addr, e.Source)
}

// NextStep is the next thing to do.
func (e *RevokedHostKeyError) NextStep() next.Step {
	return next.Words("do not log in to this server; give it a new host key through its console")
}

// UnknownHostKeyError reports a host that nothing is known about and that nobody
// vouched for.
type UnknownHostKeyError struct {
	Name, Addr  string
	Type        string // "ssh-ed25519"
	Fingerprint string // "SHA256:…"
	Line        string // the key as Target.HostKey takes it
	Declined    bool   // a person was asked and said no
	Err         error  // why nobody could be asked; nil if Declined

	notFollowed []string
}

func (e *UnknownHostKeyError) Error() string {
	why := "declined"
	switch {
	case errors.Is(e.Err, ErrNoTerminal):
		why = "there is no terminal to ask on"
	case e.Err != nil:
		why = e.Err.Error()
	}
	return fmt.Sprintf("host key of %s (%s) is not known and not accepted (%s): %s %s%s",
		e.Name, e.Addr, why, e.Type, e.Fingerprint, notFollowed(e.notFollowed))
}

// Unwrap returns why nobody could be asked.
func (e *UnknownHostKeyError) Unwrap() error { return e.Err }

// NextStep is the next thing to do.
func (e *UnknownHostKeyError) NextStep() next.Step {
	how := "answer the question on a terminal, or pin the key"
	if errors.Is(e.Err, errStrict) {
		how = "pin the key"
	}
	return next.Say("compare the fingerprint with the one on the server's console; if it is right, %s in vps.yaml with hostKey: %s", how, e.Line)
}

func (p *hostKeyPolicy) mismatch(key ssh.PublicKey, known []hostLine) error {
	e := &HostKeyMismatchError{Name: p.target.name(), Addr: p.target.Addr(), Got: describe(key),
		Source: known[0].source(), lookup: p.target.lookup(), pinned: p.pinned, notFollowed: p.target.Options.NotFollowedHostKeys}
	for _, l := range known {
		e.Want = append(e.Want, describe(l.key))
	}
	return e
}

func (p *hostKeyPolicy) unknown(key ssh.PublicKey, err error) error {
	if mismatch := new(HostKeyMismatchError); errors.As(err, &mismatch) {
		return mismatch
	}
	return &UnknownHostKeyError{Name: p.target.name(), Addr: p.target.Addr(), Type: key.Type(),
		Fingerprint: ssh.FingerprintSHA256(key), Line: authorizedLine(key),
		Declined: err == nil, Err: err, notFollowed: p.target.Options.NotFollowedHostKeys}
}

func describe(key ssh.PublicKey) string {
	return key.Type() + " " + ssh.FingerprintSHA256(key)
}

// IdentityError reports a key, named by the user, that cannot be used.
type IdentityError struct {
	Name string // the host it was for
	Path string
	Err  error
}

func (e *IdentityError) Error() string {
	if errors.Is(e.Err, fs.ErrNotExist) {
		return fmt.Sprintf("identity %q for %s does not exist", e.Path, e.Name)
	}
	reason := e.Err.Error()
	if pathErr := new(fs.PathError); errors.As(e.Err, &pathErr) {
		reason = pathErr.Err.Error()
	}
	return fmt.Sprintf("identity %q for %s cannot be used: %s", e.Path, e.Name, reason)
}

// Unwrap returns the cause.
func (e *IdentityError) Unwrap() error { return e.Err }

// NextStep is the next thing to do.
func (e *IdentityError) NextStep() next.Step {
	var perms *permissionsError
	switch {
	case errors.As(e.Err, &perms):
		return next.Shell("chmod", "600", e.Path)
	case errors.Is(e.Err, errPublicOnly), errors.Is(e.Err, errHardware):
		return next.Words("add the private key to the agent with ssh-add")
	default:
		return next.Words("correct the identity in vps.yaml or IdentityFile in ~/.ssh/config")
	}
}

// AuthError reports that the server was reached and verified but no key let us in.
type AuthError struct {
	Name, Addr, User string
	Tried            []string // keys that the server was offered
	Skipped          []string // keys that could not be offered or used, and why
	Methods          []string // what the server accepts
	Partial          []string // methods that succeeded and were not enough
	Batch            bool     // BatchMode of ssh_config keeps the person from being asked
	NotFollowed      []string // settings of ssh_config that this package cannot follow
	TooMany          bool     // the server ended the login: its MaxAuthTries was reached
	Banner           string   // what the server said, made printable
	Err              error
}

func (e *AuthError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "logging in to %s as %s (%s): %s", e.Name, e.User, e.Addr, e.reason())
	if len(e.Tried) > 0 {
		fmt.Fprintf(&b, "; offered: %s", strings.Join(e.Tried, ", "))
	}
	if len(e.Skipped) > 0 {
		fmt.Fprintf(&b, "; not used: %s", strings.Join(e.Skipped, ", "))
	}
	if e.Banner != "" {
		fmt.Fprintf(&b, "; the server says: %s", e.Banner)
	}
	b.WriteString(notFollowed(e.NotFollowed))
	return b.String()
}

func (e *AuthError) reason() string {
	switch {
	case e.TooMany:
		return fmt.Sprintf("the server allows no more tries after %d keys", len(e.Tried))
	case errors.Is(e.Err, errOneMore):
		return fmt.Sprintf("the server accepted %s, and wants one more factor: %s", strings.Join(e.Partial, " and "), strings.Join(e.Methods, " or "))
	case errors.Is(e.Err, errNoPublicKeys):
		return fmt.Sprintf("the server does not accept public keys (only %s)", strings.Join(e.Methods, ", "))
	case errors.Is(e.Err, errNoKeysLeft) && len(e.Tried) == 0:
		return "there is no key to offer"
	case errors.Is(e.Err, errNoKeysLeft):
		return "no key was accepted"
	default:
		return printable(e.Err.Error(), maxErrorText)
	}
}

// Unwrap returns the cause.
func (e *AuthError) Unwrap() error { return e.Err }

// NextStep is the next thing to do.
func (e *AuthError) NextStep() next.Step {
	skipped := strings.Join(e.Skipped, "\n")
	switch {
	case errors.Is(e.Err, errOneMore) && slices.Contains(e.Methods, methodQuestion) && !e.Batch:
		return next.Say("run this on a terminal, where the server's question can be answered, or let %s in by a key alone (AuthenticationMethods in its sshd_config)", e.User)
	case errors.Is(e.Err, errOneMore):
		return next.Say("let %s in by a key alone (AuthenticationMethods in the server's sshd_config), or by publickey,keyboard-interactive, which a person can answer on a terminal", e.User)
	case e.TooMany:
		return next.Words("name the right key as identity in vps.yaml, or in ~/.ssh/config with IdentitiesOnly yes")
	case strings.Contains(skipped, errAgentSilent.Error()):
		return next.Words("unlock the SSH agent (or touch its key) and run this again, or name a key file as identity in vps.yaml")
	case strings.Contains(skipped, errWrongPassphrase.Error()):
		return next.Words("run again with the right passphrase, or add the key to an agent with ssh-add")
	case strings.Contains(skipped, ErrNoTerminal.Error()):
		return next.Words("add the key to an agent with ssh-add, or run this on a terminal")
	case strings.Contains(skipped, "lets others read it"):
		return next.Words("take the private key's permissions for others away (chmod 600)")
	case errors.Is(e.Err, errNoPublicKeys):
		return next.Words("set PubkeyAuthentication yes in the server's sshd_config")
	default:
		return next.Say("add your public key to ~%s/.ssh/authorized_keys on the server, or name the right one as identity", e.User)
	}
}

// ErrLost is wrapped by the error of whatever was under way when a connection
// ended. What became of a command, or all that it printed, is then not known.
var ErrLost = errors.New("connection lost")

// LostError reports a connection that ended, or a command whose end the server did
// not report. It wraps [ErrLost].
type LostError struct {
	Name   string // host
	During string // the command, shortened; "" when there was none
	Err    error  // why, as far as known; may be nil
}

func (e *LostError) Error() string {
	during, why := "", ""
	if e.During != "" {
		during = fmt.Sprintf(" during %q", e.During)
	}
	switch {
	case errors.Is(e.Err, io.EOF):
		why = ": the server closed it"
	case e.Err != nil:
		why = ": " + printable(e.Err.Error(), maxErrorText)
	}
	return fmt.Sprintf("connection to %s lost%s%s", e.Name, during, why)
}

// Unwrap returns ErrLost and the cause.
func (e *LostError) Unwrap() []error {
	if e.Err == nil {
		return []error{ErrLost}
	}
	return []error{ErrLost, e.Err}
}

// NextStep is the next thing to do.
func (e *LostError) NextStep() next.Step {
	return next.Words("check that the server is up, then run the same command again")
}

// lost describes the end of the connection for what was under way.
func (c *Client) lost(during string) error {
	return &LostError{Name: c.target.name(), During: during, Err: c.link.reason()}
}

// ExitError reports a command that ended with a failure.
type ExitError struct {
	Name   string // host
	Line   string // the command, shortened
	Code   int    // exit status; -1 if a signal ended it
	Signal string // name without SIG, "" if none
	Stderr string // the end of its standard error, at most 4 KiB, as it came
}

func (e *ExitError) Error() string {
	how := fmt.Sprintf("exit status %d", e.Code)
	if e.Signal != "" {
		how = "signal " + e.Signal
	}
	if said := lastLine(e.Stderr); said != "" {
		how += ": " + said
	}
	return fmt.Sprintf("%q on %s: %s", e.Line, e.Name, how)
}

// shorten makes a command line fit into a message.
func shorten(line string) string { return printable(line, 60) }
