package qemu

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/atoll-dcn/atoll/hub/internal/convert/sandbox"
)

func TestMain(m *testing.M) {
	if code, mine := sandbox.Main(); mine {
		os.Exit(code)
	}
	goleak.VerifyTestMain(m)
}
