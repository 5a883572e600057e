package tree_test

import (
	"fmt"
	"strings"

	"github.com/dagadbm/vps/mage/internal/tree"
)

func ExampleDiff() {
	const a = "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"
	const b = "3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d"
	server, err := tree.ParseManifest(strings.NewReader(
		"f "+a+" flake.nix\nf "+a+" old.nix\nf "+a+" run.sh\n"), tree.Limits{})
	if err != nil {
		panic(err)
	}
	laptop, err := tree.ParseManifest(strings.NewReader(
		"f "+b+" flake.nix\nx "+a+" run.sh\n"), tree.Limits{})
	if err != nil {
		panic(err)
	}
	d := tree.Diff(server, laptop)
	fmt.Println(d.Summary())
	fmt.Print(d)
	// Output:
	// 2 changed, 1 removed
	// ~ flake.nix
	// - old.nix
	// ~ run.sh (now executable, content unchanged)
}
