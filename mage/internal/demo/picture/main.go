// Command picture makes the README's picture of a real run: docs/update.svg, in
// the present folder, which is the repository's root.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"

	"github.com/dagadbm/vps/mage/internal/demo"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	svg, err := demo.Picture(ctx, "go", "tool", "mage", "-d", ".")
	if err == nil {
		err = os.WriteFile("docs/update.svg", []byte(svg), 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
