package secrets

// The example lets a fresh clone work at once. Everybody knows its key, and
// the private half of its SSH key was thrown away.
const (
	// ExampleRecipient is the public half of testdata/age-key.txt.
	ExampleRecipient = "age1huv67dlkmr9xuhpp0nqe3aldfj8gluu0cevtnrqtvgpx77zzea0qrqjxfd"

	exampleSSHPublicKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILaJ7LdR63HifsHNKm2J/Z32q7AfmQLJ0Ep+s6ogXgVl"
)

const makeOwnKey = "Run `mage secrets:init`: it makes a key of your own and re-encrypts."

// RefuseExample is what every command that deploys asks first: it returns an
// error that wraps [ErrExampleKey] if the public example key is among ids, or
// among those that the file of report is encrypted to. Either may be nil.
func RefuseExample(ids *Identities, report *Report) error {
	if ids != nil && ids.IsExample() {
		return fail(ErrExampleKey, makeOwnKey, "refusing to deploy with the age key of %s", ids.Source())
	}
	if report != nil && report.Example() {
		return fail(ErrExampleKey, makeOwnKey, "refusing to deploy secrets that the example key decrypts")
	}
	return nil
}
