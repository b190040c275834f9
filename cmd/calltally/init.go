package main

import (
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

//go:embed starter.yaml
var starter []byte

type initCommand struct {
	Force bool `help:"Replace a configuration that is there."`
}

func (c *initCommand) Run(g *globals) error {
	flags := os.O_WRONLY | os.O_CREATE | os.O_EXCL
	if c.Force {
		flags = os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	}
	out, err := os.OpenFile(g.Config, flags, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return usageError{fmt.Errorf("%s is there already; write over it with --force, or name another with --config", g.Config)}
	}
	if err != nil {
		return err
	}
	if _, err = out.Write(starter); err != nil {
		return errors.Join(err, out.Close())
	}
	if err := out.Close(); err != nil {
		return err
	}
	_, err = fmt.Fprintf(g.stdout, "Wrote %s. Change the lines marked with <-, then try “calltally check”.\n", g.Config)
	return err
}
