package folder

import (
	"errors"
	"io/fs"
	"os"
	"testing"
	"time"
)

// A file that can't be claimed is tried at every look, but keeps nobody awake.
func TestAFileThatCanNotBeClaimed(t *testing.T) {
	now := time.Date(2026, 3, 31, 12, 0, 0, 0, time.UTC)
	f := &Folder{Path: t.TempDir(), Settle: time.Second, Now: func() time.Time { return now }}
	root, err := os.OpenRoot(f.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if err := root.WriteFile("orders.csv", []byte("a,b\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	look := func() []fs.FileInfo {
		t.Helper()
		files, err := f.complete(root)
		if err != nil {
			t.Fatal(err)
		}
		now = now.Add(time.Second)
		return files
	}
	if look(); f.Settling() == 0 {
		t.Error("a new file should have us look again soon")
	}
	for range 3 {
		if files := look(); len(files) != 1 {
			t.Fatalf("%v are complete, want the one file", files)
		}
		f.tried("orders.csv", errors.New("access denied"))
		if f.Settling() != 0 {
			t.Error("a file that could not be claimed has us look again soon")
		}
	}
	if err := root.WriteFile("orders.csv", []byte("a,b\n1,2\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	if look(); f.Settling() == 0 {
		t.Error("a file that changed since should have us look again soon")
	}
}
