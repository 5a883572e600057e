// Age-plugin-test is a plugin of age for the tests, built by age's own framework. Its
// identity holds an ordinary key; it writes a line for each use into the file that
// AGE_PLUGIN_TEST_LOG names.
package main

import (
	"crypto/ecdh"
	"fmt"
	"os"

	"filippo.io/age"
	"filippo.io/age/plugin"
)

func main() {
	p, err := plugin.New("test")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	p.HandleIdentity(func(data []byte) (age.Identity, error) {
		note("identity")
		return age.ParseX25519Identity(string(data))
	})
	p.HandleRecipient(func(data []byte) (age.Recipient, error) {
		note("recipient")
		public, err := ecdh.X25519().NewPublicKey(data)
		if err != nil {
			return nil, err
		}
		text, err := plugin.EncodeX25519Recipient(public)
		if err != nil {
			return nil, err
		}
		return age.ParseX25519Recipient(text)
	})
	os.Exit(p.Main())
}

func note(what string) {
	file, err := os.OpenFile(os.Getenv("AGE_PLUGIN_TEST_LOG"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return
	}
	defer file.Close()
	fmt.Fprintln(file, what, "SOPS_AGE_KEY="+os.Getenv("SOPS_AGE_KEY"))
}
