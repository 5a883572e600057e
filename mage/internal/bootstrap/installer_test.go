package bootstrap

import (
	"fmt"
	"testing"

	"github.com/dagadbm/vps/mage/internal/container"
	"github.com/stretchr/testify/assert"
)

func TestInstallerPhasesOfAWholeRun(t *testing.T) {
	t.Parallel()
	for stage, steps := range [][]struct {
		line string
		want InstallerPhase
	}{
		container.StageInstaller: {
			{"Uploading install SSH keys", InstallerUploadingKey},
			{"Gathering machine facts", InstallerGatheringFacts},
			{"Switching system into kexec", InstallerKexec},
			{"Gathering machine facts", InstallerInMemory},
			{"Done!", InstallerInMemory}, // with its stage, not with the install
		},
		container.StageSystem: {
			{"Uploading install SSH keys", InstallerInMemory},
			{"Gathering machine facts", InstallerInMemory},
			{"Building disko script", InstallerBuildingDisko},
			{"Uploading /key/disk-0 to /tmp/disk.key", InstallerBuildingDisko},
			{"Formatting hard drive with disko", InstallerFormatting},
			{"Uploading the system closure", InstallerCopyingSystem},
			{"Copying extra files", InstallerCopyingFiles},
			{"Installing NixOS", InstallerInstalling},
			{"Rebooting", InstallerRebooting},
			{"Waiting for the machine to become unreachable due to reboot", InstallerWaitingForReboot},
			{"Done!", InstallerDone},
		},
	} {
		p := []InstallerPhase{InstallerPreparing, InstallerInMemory}[stage]
		for _, step := range steps {
			p = p.next(container.Stage(stage), step.line)
			assert.Equal(t, step.want, p, step.line)
		}
	}
}

// The server's own output comes the same way, and it may say anything.
func TestInstallerPhaseIgnoresOtherLines(t *testing.T) {
	t.Parallel()
	for _, line := range []string{
		"### Gathering machine facts ###", "### Uploading install SSH keys ###", // back
		"### Uploading /key to /tmp/disk.key ###", "### Something new ###", "### ###", "###", "### Done!", "x ### Done! ###", "",
	} {
		step, _ := stepOf(line)
		assert.Equal(t, InstallerInstalling, InstallerInstalling.next(container.StageSystem, step), line)
	}
	assert.Equal(t, InstallerKexec, InstallerKexec.next(container.StageInstaller, "Formatting hard drive with disko"), "of the other stage")
}

func TestInstallerPhasesSayWhatIsAtStake(t *testing.T) {
	t.Parallel()
	for p := range installerPhases {
		assert.NotEmpty(t, p.Disk())
		named, ok := InstallerPhaseNamed(p.String())
		assert.True(t, ok)
		assert.Equal(t, p, named, "names must differ")
		assert.Positive(t, DefaultInstallerDeadlines()[p], p.String())
	}
	assert.False(t, InstallerBuildingDisko.Wiped())
	assert.True(t, InstallerFormatting.Wiped())
	assert.False(t, InstallerCopyingSystem.HoldsKey())
	assert.True(t, InstallerCopyingFiles.HoldsKey())
	assert.Contains(t, InstallerCopyingFiles.Disk(), "age key")
	assert.False(t, InstallerInstalling.Installed())
	assert.True(t, InstallerRebooting.Installed())
	_, ok := InstallerPhaseNamed("phase 99")
	assert.False(t, ok)
	assert.Equal(t, "phase 99", InstallerPhase(99).String())
}

func TestLoopsAreRecognisedByWhatOpenSSHSays(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]InstallerLoop{
		"root@server: Permission denied (publickey).":                                            InstallerDenied,
		"/usr/bin/ssh-copy-id: ERROR: root@server: Permission denied (publickey,password).":      InstallerDenied,
		"rm: cannot remove '/x': Permission denied":                                              0,
		"building: touch: Permission denied (os error 13)":                                       0,
		"Host key verification failed.":                                                          InstallerOtherHostKey,
		"ERROR: Host key verification failed.":                                                   InstallerOtherHostKey,
		"ssh: connect to host 203.0.113.1 port 22: Connection refused":                           InstallerUnreachable,
		"ssh: connect to host 2001:db8::1 port 22: No route to host":                             InstallerUnreachable,
		"/bin/ssh-copy-id: ERROR: ssh: connect to host 1.2.3.4 port 22: Connection timed out":    InstallerUnreachable,
		"ssh: Could not resolve hostname nowhere.invalid: Name or service not known":             InstallerUnreachable,
		"kex_exchange_identification: Connection closed by remote host":                          InstallerUnreachable,
		"Connection reset by 203.0.113.1 port 22":                                                InstallerUnreachable,
		"Connection closed by authenticating user root 1.2.3.4 port 5 [preauth], said the paper": 0,
		"warning: unable to download: Connection refused":                                        0,
	} {
		assert.Equal(t, want, loopIn(line), line)
	}
	for loop := InstallerDenied; loop <= InstallerUnreachable; loop++ {
		assert.NotEqual(t, "no loop", loop.String())
		assert.NotEmpty(t, (&InstallerStuckError{Loop: loop}).NextStep().String())
	}
}

// Waiting for a server that restarts is full of refused connections.
func TestOnlyLoopsWithoutAnEndAreTakenForOne(t *testing.T) {
	t.Parallel()
	for _, p := range []InstallerPhase{InstallerPreparing, InstallerInMemory, InstallerFormatting, InstallerRebooting, InstallerWaitingForReboot} {
		for loop := InstallerDenied; loop <= InstallerUnreachable; loop++ {
			assert.Zero(t, p.patience(loop, false), fmt.Sprint(p, loop))
		}
	}
	assert.Zero(t, InstallerKexec.patience(InstallerUnreachable, false))
	assert.Equal(t, 1, InstallerUploadingKey.patience(InstallerDenied, true), "sshd bans who goes on trying")
	assert.Equal(t, 1, InstallerInMemory.patience(InstallerDenied, true))
}
