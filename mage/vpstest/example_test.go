package vpstest_test

import (
	"fmt"

	"golang.org/x/crypto/ssh"

	"github.com/dagadbm/vps/mage/vpstest"
)

// A server outside of a test, and one command on it.
func Example() {
	server, err := vpstest.New(vpstest.WithHostname("web-1"))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()
	client, err := ssh.Dial("tcp", server.Addr(), &ssh.ClientConfig{
		User:            "root",
		Auth:            []ssh.AuthMethod{ssh.PublicKeys(server.ClientKey())},
		HostKeyCallback: ssh.FixedHostKey(server.HostKey()),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	session, err := client.NewSession()
	if err != nil {
		fmt.Println(err)
		return
	}
	out, err := session.Output(`uname -n; . "$VPS_ROOT/etc/os-release"; echo "$ID"`)
	fmt.Print(string(out))
	fmt.Println(err)
	// Output:
	// web-1
	// nixos
	// <nil>
}

// The second connection is cut after a thousand bytes from the client.
func ExampleWithLinks() {
	option := vpstest.WithLinks(func(n int) vpstest.Link {
		if n == 2 {
			return vpstest.Link{CutReceived: 1000}
		}
		return vpstest.Link{}
	})
	server, err := vpstest.New(option)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(server.Close())
	// Output: <nil>
}

// A system that stops SSH, as a file of the tree it is built from.
func ExampleSystem_Conf() {
	fmt.Print(vpstest.System{SSH: vpstest.SSHStopped, Output: "stopping sshd"}.Conf())
	// Output:
	// output="stopping sshd"
	// ssh="stopped"
}
