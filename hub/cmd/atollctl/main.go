// Command atollctl manages images, copies, sites and operations of an Atoll hub.
package main

import (
	"os"

	"github.com/atoll-dcn/atoll/pkg/ctl"
)

func main() { os.Exit(ctl.Main()) }
