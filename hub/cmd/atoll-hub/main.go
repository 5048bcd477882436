// Command atoll-hub keeps the catalog of images and feeds the sites.
package main

import (
	"os"

	"github.com/atoll-dcn/atoll/hub/internal/app"
)

func main() { os.Exit(app.Main()) }
