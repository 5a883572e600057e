package facts

import (
	"slices"
	"strings"
)

// flakeHost is one output, with all modules that make it.
type flakeHost struct {
	name    string
	modules modules
}

func (h flakeHost) facts() (facts HostFacts, err error) {
	if facts.SSHPort, err = h.modules.sshPort(); err != nil {
		return facts, err
	}
	if facts.Disks, err = h.modules.disks(); err != nil {
		return facts, err
	}
	if facts.AgeKeyFile, err = h.modules.text("sops", "age", "keyFile"); err != nil {
		return facts, err
	}
	facts.Secrets, err = h.modules.secrets()
	return facts, err
}

// sshPort is the first port of sshd: 22 where sshd is configured without one.
func (ms modules) sshPort() (int, error) {
	sshd, err := ms.below("services", "openssh")
	if err != nil || len(sshd) == 0 {
		return 0, err
	}
	defs, err := ms.below("services", "openssh", "ports")
	if err != nil {
		return 0, err
	}
	for _, d := range strongest(defs) {
		if d, err = ms.resolve(d); err != nil {
			return 0, err
		}
		if d.value.kind != nixList {
			return 0, d.errorf("is not a plain list")
		}
		for _, item := range d.value.items {
			item, err := ms.resolve(definition{d.path, item, d.mod, d.rank})
			if err != nil {
				return 0, err
			}
			return item.port()
		}
	}
	return 22, nil
}

func (d definition) port() (int, error) {
	port, err := d.number()
	if err == nil && (port < 1 || port > 65535) {
		return 0, d.errorf("is %d, which is no port", port)
	}
	return port, err
}

// disks are the devices that disko is given.
func (ms modules) disks() ([]string, error) {
	names, err := ms.namesBelow("disko", "devices", "disk")
	if err != nil {
		return nil, err
	}
	var disks []string
	for _, name := range names {
		device, err := ms.text("disko", "devices", "disk", name, "device")
		if err != nil {
			return nil, err
		}
		if device != "" {
			disks = append(disks, device)
		}
	}
	slices.Sort(disks)
	return disks, nil
}

// namesBelow are the names that definitions give to members of a set.
func (ms modules) namesBelow(path ...string) ([]string, error) {
	defs, err := ms.below(path...)
	if err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for _, d := range defs {
		if d.rank == rankOption {
			continue
		}
		if len(d.path) == len(path) {
			if d.value.kind == nixAttrs { // {} defines nothing
				continue
			}
			return nil, d.errorf("is computed")
		}
		names[d.path[len(path)]] = true
	}
	return sortedKeys(names), nil
}

func (ms modules) secrets() ([]Declared, error) {
	names, err := ms.namesBelow("sops", "secrets")
	if err != nil {
		return nil, err
	}
	var secrets []Declared
	for _, name := range names {
		s, err := ms.secret(name)
		if err != nil {
			return nil, err
		}
		secrets = append(secrets, s)
	}
	return secrets, nil
}

// secret reads one declaration; what it leaves out is as sops-nix has it.
func (ms modules) secret(name string) (Declared, error) {
	s := Declared{Name: name, Key: name, Owner: rootUser, Mode: "0400"}
	for option, field := range map[string]*string{
		"name": &s.Name, "key": &s.Key, "owner": &s.Owner, "mode": &s.Mode, "path": &s.Path,
	} {
		value, err := ms.text("sops", "secrets", name, option)
		if err != nil {
			return s, err
		}
		if value != "" {
			*field = value
		}
	}
	users, ok, err := ms.value("sops", "secrets", name, "neededForUsers")
	if err == nil && ok {
		s.NeededForUsers, err = users.truth()
	}
	if err != nil {
		return s, err
	}
	if s.Path == "" {
		s.Path = secretPath(s.Name, s.NeededForUsers)
	}
	files, err := ms.below("sops", "secrets", name, "sopsFile")
	s.OtherFile = len(files) > 0
	return s, err
}

// secretPath is where sops-nix puts a secret that names no path.
func secretPath(name string, neededForUsers bool) string {
	folder := "/run/secrets/"
	if neededForUsers {
		folder = "/run/secrets-for-users/"
	}
	return folder + strings.TrimPrefix(name, "/")
}
