// Table prints what fault tests wrote down: go run ./mage/internal/faults/table FILE
package main

import (
	"fmt"
	"os"

	"github.com/dagadbm/vps/mage/internal/faults"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: table FILE, which $VPS_FAULTS_REPORT named")
		os.Exit(2)
	}
	rows, err := faults.Rows(os.Args[1])
	if err == nil {
		err = faults.Print(os.Stdout, rows)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
