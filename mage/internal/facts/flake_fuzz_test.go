package facts

import (
	"errors"
	"testing"
)

// Whatever a file holds, reading it ends in facts or in an error that names it.
func FuzzReadFlakeFiles(f *testing.F) {
	ours := ourFiles(f)
	for _, name := range sortedKeys(ours) {
		f.Add(ours[name], ours["modules/sops.nix"])
	}
	f.Add(ours["flake.nix"], "{ sops.secrets = { a.mode = ''0400''; ${x} = { }; }; }")
	f.Add(`{ outputs = _: { nixosConfigurations = { a = f [ { services.openssh.ports = [ 1 ]; } ./modules/sops.nix ]; }; }; }`, "{ }")
	f.Add(`{ outputs = x@{ a ? "}", ... }: let h = { a = 1; }; in { nixosConfigurations = mapAttrs (n: v: v // { }) h; }; }`, "with x; { a = if b then c else -1; }")
	f.Fuzz(func(t *testing.T, flake, module string) {
		facts, err := ReadFlakeFiles(files{"flake.nix": flake, "modules/sops.nix": module}.read)
		var at *FlakeError
		switch {
		case err != nil && !errors.As(err, &at):
			t.Errorf("an error without a place: %v", err)
		case err == nil && len(facts.Outputs) == 0:
			t.Error("facts of no output")
		}
	})
}
