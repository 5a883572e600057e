package config_test

import (
	"context"
	"fmt"

	"github.com/dagadbm/vps/mage/internal/config"
)

func ExampleParse() {
	_, err := config.Parse("vps.yaml", []byte(`
hosts:
  web-1:
    adress: 203.0.113.10
    port: ssh
`))
	fmt.Println(err)
	// Output:
	// vps.yaml:4: web-1: unknown key "adress"; did you mean "address"?
	// vps.yaml:5: web-1.port: must be a number from 1 to 65535, not text "ssh"
}

func ExampleResolver_Resolve() {
	cfg, err := config.Parse("vps.yaml", []byte(`
hosts:
  web-1: {address: 203.0.113.10, tags: [prod]}
  web-2: {address: "2001:db8::11", port: 22, user: admin, tags: [prod]}
`))
	if err != nil {
		fmt.Println(err)
		return
	}
	r, err := config.NewResolver(cfg)
	if err != nil {
		fmt.Println(err)
		return
	}
	r.SSHConfig = "none" // leave the user's ssh_config out of this example
	hosts, err := r.Resolve(context.Background(), "@prod,me@spare.example:2022")
	for _, h := range hosts {
		fmt.Println(h.Name, h.User, h.Endpoint(), h.Origin)
	}
	fmt.Println(err)
	// Output:
	// web-1 root 203.0.113.10:2222 vps.yaml:3
	// web-2 admin [2001:db8::11]:22 vps.yaml:4
	// spare.example:2022 me spare.example:2022 argument
	// <nil>
}
