// Command probe is the only program of the image that the runner's tests use.
// Its first argument says how it behaves.
package main

import (
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

func main() {
	switch os.Args[1] {
	case "say":
		fmt.Println(os.Args[2])
		fmt.Fprintln(os.Stderr, "to stderr")
	case "exit":
		code, _ := strconv.Atoi(os.Args[2])
		os.Exit(code)
	case "count": // reads as many bytes as asked, then ends without seeing the end of input
		size, _ := strconv.ParseInt(os.Args[2], 10, 64)
		n, err := io.CopyN(io.Discard, os.Stdin, size)
		fmt.Println(n, err)
	case "until-eof":
		fmt.Println("ready")
		n, err := io.Copy(io.Discard, os.Stdin)
		fmt.Println(n, err)
	case "until-signal":
		signals := make(chan os.Signal, 1)
		signal.Notify(signals, syscall.SIGTERM)
		fmt.Println("ready")
		fmt.Println(<-signals)
		os.Exit(143)
	case "ignore-signals":
		signal.Ignore(syscall.SIGTERM, syscall.SIGINT)
		fmt.Println("ready")
		for {
			time.Sleep(time.Hour)
		}
	}
}
