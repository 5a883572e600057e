package run

import (
	"crypto/x509"
	_ "embed" // for the script
	"encoding/pem"
	"errors"
	"io"
	"strings"
	"time"
)

//go:embed scripts/inspect.sh
var inspectScript string

// Inspection is what check wants to know of a server beyond its facts.
type Inspection struct {
	Reboot       []string // what only a reboot makes active: kernel, kernel-modules, initrd
	Certificates []Certificate
}

// Certificate is one that the server got for itself.
type Certificate struct {
	File string
	Ends time.Time // zero: it could not be read
}

// Inspect builds the command whose output [ParseInspection] reads. It changes nothing.
func (s Shell) Inspect() Command { return s.library(inspectScript) }

// maxPEM bounds the text of a certificate.
const maxPEM = 64 << 10

// ParseInspection reads the output of [Shell.Inspect].
func ParseInspection(r io.Reader) (Inspection, error) {
	var in Inspection
	var text strings.Builder
	err := readFields("inspection", r, func(key, value string) (err error) {
		switch key {
		case "reboot":
			in.Reboot, err = bounded(in.Reboot, value)
		case "certificate":
			in.finish(&text)
			in.Certificates, err = bounded(in.Certificates, Certificate{File: value})
		case "pem":
			if text.Len() > maxPEM {
				return errors.New("longer than any certificate")
			}
			text.WriteString(value + "\n")
		}
		return err
	})
	if err != nil {
		return Inspection{}, err
	}
	in.finish(&text)
	return in, nil
}

// finish reads the text of the last certificate.
func (in *Inspection) finish(text *strings.Builder) {
	defer text.Reset()
	if len(in.Certificates) == 0 {
		return
	}
	block, _ := pem.Decode([]byte(text.String()))
	if block == nil {
		return
	}
	if cert, err := x509.ParseCertificate(block.Bytes); err == nil {
		in.Certificates[len(in.Certificates)-1].Ends = cert.NotAfter
	}
}
