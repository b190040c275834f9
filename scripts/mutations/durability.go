package main

// durability are the syncs: what was said to be ours must be there after the power was cut.
var durability = []mutation{
	{name: "sync: commits", file: "store/engine.go", from: "_pragma=synchronous(FULL)", to: "_pragma=synchronous(NORMAL)", by: pragmas},
	{name: "sync: that commits are durable is read back", file: "store/engine.go", from: `if journal != "wal" || synchronous != full {`, to: "if false {", by: pragmas, short: true},
	{name: "sync: readers can't write", file: "store/engine.go", from: `"PRAGMA query_only = 1"`, to: `""`, by: pragmas},
	{name: "sync: a claim", file: "ingest/claim.go", from: `files.Sync(".", workFolder)`, to: "files.Sync()", by: claims},
	{name: "sync: where a claimed file was", file: "ingest/claim.go", from: `files.Sync(".", workFolder)`, to: "files.Sync(workFolder)", by: claims},
	{name: "sync: where a claimed file is", file: "ingest/claim.go", from: `files.Sync(".", workFolder)`, to: `files.Sync(".")`, by: claims, short: true},
	{name: "sync: a report's name", file: "ingest/drop.go", from: "return files.Sync(resultsFolder)", to: "return nil", by: claims},
	{name: "sync: a file that is given back", file: "ingest/audit.go", from: `, files.Sync(".", path.Dir(at))`, to: "", by: claims},
	{name: "sync: a report's bytes", file: "ingest/folder/folder.go", from: "buffered.Flush(), out.Sync(), out.Close()", to: "buffered.Flush(), out.Close()", by: powerCut("a_report")},
	{name: "sync: a folder", file: "ingest/sync.go", from: "err := dir.Sync()", to: "err := error(nil)", by: powerCut("a_report")},
	{name: "sync: a report's bytes on an SFTP server", file: "ingest/sftp/files.go", from: "return file.Sync()", to: "return nil", by: tests{"./ingest/sftp", "TestWhatIsWrittenIsSynced"}},
	{name: "sync: a backup's bytes", file: "store/backup.go", from: "errors.Join(syncPath(part), os.Rename(part, to)", to: "errors.Join(os.Rename(part, to)",
		unseen: proving},
	{name: "sync: a backup's name", file: "store/backup.go", from: "os.Rename(part, to), syncPath(filepath.Dir(to)))", to: "os.Rename(part, to), func(string) error { return nil }(filepath.Dir(to)))", by: powerCut("a_backup")},
	{name: "sync: a restored store's bytes", file: "store/restore.go", from: "errors.Join(err, out.Sync(), out.Close())", to: "errors.Join(err, out.Close())",
		unseen: proving},
	{name: "sync: a restored store's name", file: "store/restore.go", from: "rename(part, path), syncPath(filepath.Dir(path)))", to: "rename(part, path))", by: powerCut("a_restored_store")},
	{name: "sync: tokens", file: "cmd/calltally/grant.go", from: "errors.Join(err, out.Sync(), out.Close())", to: "errors.Join(err, out.Close())", by: powerCut("tokens")},
	{name: "sync: the name of the tokens' file", file: "cmd/calltally/grant.go", from: "err := ingest.SyncNames(filepath.Dir(g.file)); err != nil", to: "_, err := ingest.SyncNames, error(nil); err != nil", by: powerCut("tokens")},
	{name: "sync: a packed report", file: "worker/parcel.go", from: "zip.Close(), out.Sync())", to: "zip.Close())", by: powerCut("a_packed_report")},
	{name: "sync: the name of a packed report", file: "worker/parcel.go", from: "err := ingest.SyncNames(folder); err != nil", to: "_, err := ingest.SyncNames, error(nil); err != nil", by: powerCut("a_packed_report")},
	{name: "bytes: those that were digested are those that are kept", file: "store/upload.go", from: "if !bytes.Equal(saved.Sum(nil), u.Digest[:]) {", to: "if !bytes.Equal(saved.Sum(nil), saved.Sum(nil)) {", by: uploads},
	{name: "backup: none takes a file's place", file: "store/backup.go", from: "if _, err := os.Lstat(to); err == nil {", to: "if false {", by: backups},
	{name: "backup: its ledger is proven", file: "store/backup.go", from: "if err == nil && verified.Mismatches > 0 {", to: "if false {", by: backups},
	{name: "backup: its pages are proven", file: "store/backup.go", from: `err = s.integrity(ctx, "integrity_check"); err == nil`, to: "true", by: backups},
	{name: "restore: nobody has the store open", file: "store/restore.go", from: "errors.Join(ErrInUse, err)", to: "nil", by: backups},
	{name: "restore: nobody opens the store until the other has its name", file: "store/restore.go", from: "defer before.Close()", to: "before.Close()", by: backups},
	{name: "restore: who is alone stays alone", file: "store/restore.go", from: "PRAGMA main.locking_mode = EXCLUSIVE", to: "PRAGMA main.locking_mode = NORMAL", by: backups},
	{name: "restore: the store that was there is kept", file: "store/restore.go", from: "switch err := os.Link(path, aside); {", to: "switch err := error(nil); {", by: backups},
	{name: "restore: another store's log is no part of it", file: "store/restore.go", from: "for _, ending := range besides {", to: "for _, ending := range besides[:0] {", by: backups},
	{name: "restore: a copy that was never proven is no part of it", file: "store/backup.go", from: `append([]string{""}, besides...)`, to: `[]string{""}`, by: backups},
	{name: "restore: numbers that the store that was there has given out", file: "store/since.go", from: "found.Above, found.Compared = max(found.Above, highest), true", to: "found.Compared = true", by: numbers},
	{name: "restore: numbers that nobody knows of", file: "store/since.go", from: "found.Above + unknownSpent*(1+restores)", to: "found.Above + 0*restores", by: numbers},
	{name: "restore: numbers that nobody knows of any more", file: "store/since.go", from: "unknownSpent*(1+restores)", to: "unknownSpent + 0*restores", by: numbers},
	{name: "restore: numbers that are spent are kept", file: "store/since.go", from: "COALESCE((SELECT MAX(upload) FROM spent), 0)", to: "0", by: numbers},
	{name: "restore: what is no store is not made one", file: "store/restore.go", from: "if tables < 2 {", to: "if false {", by: backups},
}

// proving is why no test can notice that a copy isn't synced.
const proving = "to prove the copy it is opened, and SQLite syncs it as it takes the log up and puts it away again"

var (
	pragmas = tests{"./store", "TestSQLitePragmasAreInForce|TestSQLiteReadersCannotWrite|TestAStoreThatIsNotDurableIsRefused"}
	claims  = tests{"./ingest", "TestWhatIsSyncedWhen"}
	uploads = tests{"./store", "TestSQLiteConforms/uploads"}
	backups = tests{"./store", "TestABackupIsProven|TestAStoreIs|TestNoOtherStoresLog|TestWhatIsNoBackup"}
	numbers = tests{"./store", "TestNoNumberIsGivenOutTwice"}
)

// powerCut are the tests that cut the power right after something was said to be done.
func powerCut(after string) tests {
	return tests{"./cmd/calltally", "TestAPowerCutRightAfter/" + after}
}
