package main

import "errors"

type demoCommand struct{}

func (c *demoCommand) Run(g *globals) error { return errors.New("x") }
