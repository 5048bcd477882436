package frame

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/manifest"
)

// A hub that stops in the middle of a body is given up; a reader that takes its time is not.
func TestSilentHub(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stuck := make(chan struct{})
		defer close(stuck)
		c := Piped(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			enc := manifest.NewEncoder(w, 0)
			_ = enc.Append(Sum(nil))
			_ = http.NewResponseController(w).Flush()
			<-stuck
		}))
		c.idle = 500 * time.Millisecond
		dec, closer, err := c.Manifest(context.Background(), "x", 0)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = closer.Close() }()
		<-time.After(3 * c.idle) // the reader is busy with something else
		if rec, err := dec.Next(); err != nil || rec.Count != 1 {
			t.Fatalf("record %+v, error %v", rec, err)
		}
		if _, err := dec.Next(); !fault.Is(err, fault.Unavailable) || fault.ReasonOf(err) != "HUB_SILENT" {
			t.Fatalf("error %v", err)
		}
	})
}
