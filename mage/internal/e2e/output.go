package e2e

import "runtime"

// Output is the flake output for this machine's architecture, which is the
// server's, too.
func Output() string {
	if runtime.GOARCH == "arm64" {
		return "vps-arm"
	}
	return "vps-x86"
}
