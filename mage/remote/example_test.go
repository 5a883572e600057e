package remote_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/dagadbm/vps/mage/internal/next"
	"github.com/dagadbm/vps/mage/remote"
)

// One Dialer serves a whole invocation. Errors that a person can do something
// about say what.
func ExampleDialer() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	dialer := &remote.Dialer{} // without a Prompter nothing is asked

	client, err := dialer.Dial(ctx, remote.Target{
		Name: "web-1", Address: "127.0.0.1", Port: 1, Agent: "none",
		HostKey: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPVmWq7GBNwbhQUTyoqbrZhYN89DL1JdEeJ60aLW+yTn",
	})
	if err != nil {
		var hint interface{ NextStep() next.Step }
		if errors.As(err, &hint) {
			fmt.Println("next:", hint.NextStep().String())
		}
		return
	}
	defer client.Close()

	client.PrepareSFTP(ctx) // while the command runs
	if err := client.Run(ctx, remote.Cmd{Line: "uname -m", Stdout: os.Stdout}); err != nil {
		fmt.Println(err)
		return
	}
	if err := client.Upload(ctx, "/root/note", 0o600, []byte("hello")); err != nil {
		fmt.Println(err)
	}
	// Output:
	// next: check the port, and that sshd runs on the server
}

func ExampleQuote() {
	fmt.Println("echo", remote.Quote("it's 5 $"))
	// Output: echo 'it'\''s 5 $'
}
