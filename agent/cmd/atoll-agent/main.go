// Command atoll-agent writes images into the Ceph cluster of its site as the hub wants them.
package main

import (
	"os"

	"github.com/atoll-dcn/atoll/agent/internal/app"
)

func main() { os.Exit(app.Main()) }
