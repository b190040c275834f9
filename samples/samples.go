// Package samples holds cases: each folder is a situation from practice, with
// its configuration, its files in the order they came, and what calltally made
// of them. They are documentation, test fixtures and goldens in one.
package samples

import "embed"

// Files are all cases.
//
//go:embed all:*
var Files embed.FS
