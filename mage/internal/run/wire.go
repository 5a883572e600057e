package run

// The words and file names that laptop and server share, apart from phases and results
// (status.go), the keys of a request (request.go) and those of facts, generations and
// evidence, which stand in their parsers. The scripts have the other half:
// wire_test.go holds the two together.

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

// Fields of status lines. What only a person reads is not among them.
const (
	FieldResult     = "result"     // of the end
	FieldReason     = "reason"     // of the end
	FieldStage      = "stage"      // of an end before the switch: [StageBuild]
	FieldCode       = "code"       // exit code of what failed
	FieldSystem     = "system"     // store path of the new system; of a phase that goes back, the old one
	FieldGeneration = "generation" // that the commit made
	FieldKept       = "kept"       // where foreign files are kept
	fieldLog        = "log"        // bytes of the whole log
	fieldArmed      = "armed"      // of the phase gone: the switch had begun
	fieldFacts      = "facts"      // of the built system: see [wholeFields]
	fieldManifest   = "manifest"
	fieldPorts      = "ports"
)

// Reasons of an end, beyond its result.
const (
	ReasonRejected     = "rejected"     // the laptop, or a rollback, said no
	ReasonUnconfirmed  = "unconfirmed"  // nobody said anything in time
	ReasonHung         = "hung"         // the switch did not end in time
	ReasonReboot       = "reboot"       // the new system needs a reboot
	ReasonUnswitchable = "unswitchable" // the new system has no switch
	ReasonStuck        = "stuck"        // a commit can be neither finished nor undone
	ReasonCommit       = "commit"       // the commit failed
	ReasonWritten      = "written"      // the build wrote into its tree
	ReasonCrash        = "crash"        // the supervisor died
	ReasonFull         = "full"         // a disk is
	ReasonBoot         = "boot"         // /boot has no room for the new system
	ReasonMount        = "mount"        // something is mounted in /etc/nixos
	ReasonLacking      = "lacking"      // the server's system lacks programs
	ReasonSwitch       = "switch"       // another program switches just now
	ReasonUpgrade      = "upgrade"      // the server's own upgrade is at work
	ReasonShutdown     = "shutdown"     // one is scheduled
)

// StageBuild is where a run failed that could not build.
const StageBuild = "build"
