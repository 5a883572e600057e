package mage

import "github.com/dagadbm/vps/mage/deploy"

func bootstrapOptions(address, system *string, port *int, buildon, hostkey *string, yes *bool) deploy.BootstrapOptions {
	return deploy.BootstrapOptions{
		Address: or(address, ""), System: deploy.System(or(system, "")), Port: or(port, 0),
		BuildOn: deploy.BuildOn(or(buildon, "")), HostKey: or(hostkey, ""), Yes: or(yes, false),
	}
}
