package run

// Every word and file name that laptop and server share, and that is not the name of
// a field. The scripts have the other half: a test holds the two together.

// Answers of the scripts, a line each.
const (
	answerStarted   = "started=1"   // the run has started
	answerForgotten = "forgotten=1" // the run will never start
	answerNoted     = "noted=1"     // the record names the commit
	answerConfirmed = "confirmed=1" // the verdict was taken
	answerRejected  = "rejected=1"
	answerPut       = "put=1"   // the key was written
	answerFailed    = "failed=" // and why
)

// FactsEnd is the last line of the facts, and of all else that is read like them.
const FactsEnd = "end"

// LogMark is the line after which the log begins on the standard error of the
// commands that show a run.
const LogMark = "--- log of the run"

// phaseMark begins the line that stands in a log where a status line was written.
const phaseMark = "--- "

// Orders and verdicts that the laptop sends.
const (
	orderGenerations = "generations"
	orderFile        = "file"
	orderNote        = "record"
	orderStart       = "start"
	orderFollow      = "follow"
	orderCancel      = "cancel" // to a shell that shows a run
	verdictConfirm   = "confirm"
	verdictReject    = "reject"
)

// Members of the archive.
const (
	fileRequest    = "request"
	fileSupervisor = "supervisor.sh"
	fileDelete     = "delete"
	fileSecrets    = "secrets"
	folderTree     = "tree"
)

// Reasons of an end, beyond its result.
const (
	ReasonRejected    = "rejected"    // the laptop, or a rollback, said no
	ReasonUnconfirmed = "unconfirmed" // nobody said anything in time
	ReasonReboot      = "reboot"      // the new system needs a reboot
	ReasonStuck       = "stuck"       // a commit can be neither finished nor undone
	ReasonWritten     = "written"     // the build wrote into its tree
	ReasonCrash       = "crash"       // the supervisor died
	StageBuild        = "build"
)
