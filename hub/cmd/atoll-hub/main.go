// Command atoll-hub keeps the catalog of images and feeds the sites.
package main

import (
	"context"
	"os"

	"github.com/atoll-dcn/atoll/hub/internal/app"
)

// version is set by the linker.
var version string

func main() { os.Exit(app.Main(context.Background(), version)) }
