package main

import (
	"strconv"
	"strings"
	"testing"
)

// wantEachNumber checks that each number of a list is tested, by a name that begins with it
// and an underscore, or that it is said why it can't be here.
func wantEachNumber(t *testing.T, last int, names []string, notHere map[int]string) {
	t.Helper()
	there := map[int]bool{}
	for _, name := range names {
		number, what, _ := strings.Cut(name, "_")
		n, err := strconv.Atoi(number)
		if err != nil || n < 1 || n > last || what == "" {
			t.Errorf("%q doesn't begin with a number from 1 to %d", name, last)
		}
		there[n] = true
	}
	for n := 1; n <= last; n++ {
		if why, not := notHere[n]; there[n] == not {
			t.Errorf("number %d: a test is there: %t; why there is none: %q", n, there[n], why)
		}
	}
}
