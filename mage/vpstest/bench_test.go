package vpstest_test

import (
	"testing"

	"github.com/dagadbm/vps/mage/vpstest"
)

func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		s, err := vpstest.New()
		if err != nil {
			b.Fatal(err)
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
