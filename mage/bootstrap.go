package mage

import "context"

// Bootstrap installs NixOS on HOST, which runs any Linux (erases its disk); asks first.
func Bootstrap(ctx context.Context, host string,
	address *string, // where the server is, in place of what vps.yaml says
	system *string, // x86 or arm; else as the server is
	port *int, // SSH port of the system that is there now (22)
	buildon *string, // where the system is built: auto (default), local or remote
	hostkey *string, // SHA256:… fingerprint of the system that is there now
	yes *bool, // erase without asking
) error {
	return with(ctx, func(ctx context.Context, s *session) error {
		installed, err := s.Bootstrap(ctx, host, bootstrapOptions(address, system, port, buildon, hostkey, yes))
		if installed != nil {
			s.table(nil, installed.Rows())
		}
		return err
	})
}
