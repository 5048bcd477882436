// Command atollctl manages images, copies, sites and operations of an Atoll hub.
package main

import (
	"context"
	"os"

	"github.com/atoll-dcn/atoll/pkg/ctl"
)

// version is set by the linker.
var version string

func main() { os.Exit(ctl.Main(context.Background(), version)) }
