package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain makes the test binary the program itself when it is called calltally:
// scripts and crash tests run the real thing, in processes of its own.
func TestMain(m *testing.M) {
	testscript.Main(overheard{m}, map[string]func(){"calltally": mainOverheard})
}

// TestScripts plays the stories in testdata/script: the command line as its
// users see it.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv(loggedTo, os.Getenv(loggedTo))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exitcode": exitCodeIs, "jsonkeys": jsonKeysAre, "jsonis": jsonIs},
	})
}

// exitCodeIs runs a command that must end with a certain code:
//
//	exitcode 3 calltally process orders.csv
func exitCodeIs(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exitcode CODE COMMAND [ARGUMENT]...")
	}
	code := "0"
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		code = strings.TrimPrefix(err.Error(), "exit status ")
	}
	if code != args[0] {
		ts.Fatalf("%s ended with %s, want %s", strings.Join(args[1:], " "), code, args[0])
	}
}

// jsonAt reads the JSON on standard output and follows a path into it, such as
// outcomes.0.near; "." is all of it.
func jsonAt(ts *testscript.TestScript, path string) any {
	var value any
	decoder := json.NewDecoder(strings.NewReader(ts.ReadFile("stdout")))
	decoder.UseNumber()
	ts.Check(decoder.Decode(&value))
	if decoder.More() {
		ts.Fatalf("more follows the JSON on standard output")
	}
	for _, part := range strings.FieldsFunc(path, func(r rune) bool { return r == '.' }) {
		switch at := value.(type) {
		case map[string]any:
			value = at[part]
		case []any:
			i := slices.Index(strings.Fields("0 1 2 3 4 5 6 7 8 9"), part)
			if i < 0 || i >= len(at) {
				ts.Fatalf("%s: there is no entry %s among %d", path, part, len(at))
			}
			value = at[i]
		default:
			ts.Fatalf("%s: there is nothing at %s", path, part)
		}
	}
	return value
}

// jsonKeysAre checks that an object has these keys. It may have others: scripts
// rely on names, and names are added but never taken away.
//
//	jsonkeys . upload file state
func jsonKeysAre(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: jsonkeys PATH KEY...")
	}
	object, ok := jsonAt(ts, args[0]).(map[string]any)
	if !ok {
		ts.Fatalf("%s is no object", args[0])
	}
	for _, key := range args[1:] {
		if _, ok := object[key]; !ok {
			ts.Fatalf("%s has no key %s, only %s", args[0], key, strings.Join(slices.Sorted(maps.Keys(object)), " "))
		}
	}
}

// jsonIs compares what stands at a path with a value in JSON:
//
//	jsonis tally.rows 3
func jsonIs(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: [!] jsonis PATH VALUE")
	}
	text, err := json.Marshal(jsonAt(ts, args[0]))
	ts.Check(err)
	if same := string(text) == args[1]; same == neg {
		ts.Fatalf("%s is %s, want %s%s", args[0], text, map[bool]string{true: "another than "}[neg], args[1])
	}
}

// A script that relies on the starter configuration relies on this.
func TestStarterConfigurationIsReadable(t *testing.T) {
	file := t.TempDir() + "/calltally.yaml"
	if err := os.WriteFile(file, starter, 0o666); err != nil {
		t.Fatal(err)
	}
	c, err := loadConfig(file)
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(len(c.Accounts), " ", c.Accounts[0].ID); got != "1 23" {
		t.Errorf("it has accounts %s, want one, 23", got)
	}
}

func TestAStoppedCommandSaysHowToGoOn(t *testing.T) {
	file := t.TempDir() + "/calltally.yaml"
	if err := os.WriteFile(file, starter, 0o666); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	var stdout, stderr bytes.Buffer
	if code := run(ctx, []string{"verify", "--config", file}, nil, &stdout, &stderr); code != exitFailed || !strings.Contains(stderr.String(), "“calltally once” goes on where it ended") {
		t.Errorf("it ended with %d and said %q", code, &stderr)
	}
}
