package qemu

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/atoll-dcn/atoll/hub/internal/convert/sandbox"
)

func TestMain(m *testing.M) {
	if code, mine := sandbox.Main(); mine {
		os.Exit(code) //nolint:forbidigo // the main of the process in the sandbox
	}
	dir, err := os.MkdirTemp("", "fakes")
	if err != nil {
		panic(err)
	}
	fakes = dir
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(dir)
		os.Exit(code) //nolint:forbidigo // the main of the tests
	}))
}
