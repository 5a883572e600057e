package terminal

import "github.com/dagadbm/vps/mage/deploy"

// outcomes are the outcomes as a person reads them.
var outcomes = map[deploy.Outcome]string{
	deploy.OutcomeNothing:     "nothing to do",
	deploy.OutcomeUpdated:     "updated",
	deploy.OutcomeNextBoot:    "updated, active after the next reboot",
	deploy.OutcomeTested:      "active until the next reboot",
	deploy.OutcomeBuilt:       "built",
	deploy.OutcomeDry:         "dry run",
	deploy.OutcomeBack:        "rolled back as asked",
	deploy.OutcomeBackAtBoot:  "rolled back for the next boot",
	deploy.OutcomeCancelled:   "cancelled",
	deploy.OutcomeFailed:      "failed",
	deploy.OutcomeRolledBack:  "rolled back",
	deploy.OutcomeUnreachable: "unreachable",
	deploy.OutcomeBusy:        "busy",
	deploy.OutcomeUnknown:     "unknown",
}

// Outcome says in a few words how the work on a host ended; "" stays "".
func Outcome(o deploy.Outcome) string {
	if text, ok := outcomes[o]; ok {
		return text
	}
	return string(o)
}
