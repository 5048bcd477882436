package sandbox

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if code, mine := Main(); mine {
		os.Exit(code)
	}
	goleak.VerifyTestMain(m)
}
