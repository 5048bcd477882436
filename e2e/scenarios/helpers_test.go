package scenarios

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/atoll-dcn/atoll/e2e/lab"
	"github.com/atoll-dcn/atoll/pkg/fault"
)

// reason returns the stable reason of an error of the client; empty for nil.
func reason(err error) string {
	if err == nil {
		return ""
	}
	return fault.ReasonOf(err)
}

// mustFail checks that a request was refused for a reason.
func mustFail(t *testing.T, what string, err error, want string) {
	t.Helper()
	if got := reason(err); got != want {
		t.Errorf("%s: %v (reason %q), want %s", what, err, got, want)
	}
}

// waitShort is how long something may take that needs no data to move.
const waitShort = time.Minute

// published returns an error unless a site's pool has the image under its own name.
func published(l *lab.Lab, site, id string) error {
	if names := l.Images(site); !slices.Contains(names, id) {
		return fmt.Errorf("pool: %v", names)
	}
	return nil
}
