// Command atoll-agent writes images into the Ceph cluster of its site as the hub wants them.
package main

import (
	"context"
	"os"

	"github.com/atoll-dcn/atoll/agent/internal/app"
)

// version is set by the linker.
var version string

func main() { os.Exit(app.Main(context.Background(), version)) }
