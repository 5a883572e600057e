package run

import (
	"errors"
	"regexp"
	"strings"
	"time"
)

// Upgrade is what systemd says of the server's own upgrade, nixos-upgrade.service.
// It forgets the last one when the server restarts.
type Upgrade struct {
	Loaded bool      // there is such a unit
	State  string    // ActiveState; "" is unknown
	Result string    // of the last one, as systemd names it: "success", "exit-code", …
	Ended  time.Time // when the last one ended; zero is unknown
}

var unitWord = regexp.MustCompile(`^[a-z-]{0,40}$`)

// set takes a line of systemctl show.
func (u *Upgrade) set(line string) error {
	name, value, _ := strings.Cut(line, "=")
	switch name {
	case "LoadState":
		u.Loaded = value == "loaded"
	case "ActiveState":
		u.State = value
	case "Result":
		u.Result = value
	case "InactiveEnterTimestamp": // asked for in UTC; "" where there was none
		u.Ended, _ = time.Parse("Mon 2006-01-02 15:04:05 MST", value)
		return nil
	default:
		return nil
	}
	if !unitWord.MatchString(value) {
		return errors.New("not a word of systemd's")
	}
	return nil
}

// Running says whether an upgrade is at work.
func (u Upgrade) Running() bool { return u.State == "active" || u.State == "activating" }

// What can be known of the last upgrade.
const (
	UpgradeUnknown   = "unknown"
	UpgradeRunning   = "running"
	UpgradeSucceeded = "succeeded"
	UpgradeFailed    = "failed"
	UpgradeSkipped   = "skipped" // a deployment was at work, or is unfinished
)

// Outcome is what is known of the last upgrade.
func (u Upgrade) Outcome() string {
	switch {
	case !u.Loaded:
		return UpgradeUnknown
	case u.Running():
		return UpgradeRunning
	case u.Ended.IsZero():
		return UpgradeUnknown
	case u.Result == "success":
		return UpgradeSucceeded
	case u.Result == "exec-condition":
		return UpgradeSkipped
	case u.Result == "":
		return UpgradeUnknown
	}
	return UpgradeFailed
}
