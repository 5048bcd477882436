package importer

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"github.com/atoll-dcn/atoll/pkg/auth"
)

// Uploads hold buffers from their first byte on, so they are bounded; slow ones of one project leave places for others.
func TestUploadsAreBounded(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	im := New(Config{Catalog: b.catalog, Area: b.area, Uploads: 2, MaxSize: 10 << 20, Log: b.importer().Log})
	as := func(ctx context.Context, project string) context.Context {
		return auth.With(ctx, &auth.Caller{ProjectID: project})
	}
	slow, ended := newSilent([]byte("slow")), make(chan error, 1)
	go func() {
		_, err := im.Store(as(t.Context(), "p1"), b.request(), slow)
		ended <- err
	}()
	b.running(im, 0)
	gone, leave := context.WithCancel(t.Context())
	leave()
	before := len(b.catalog.Read().Operations())
	if _, err := im.Store(as(gone, "p1"), b.request(), newSilent(nil)); !errors.Is(err, context.Canceled) {
		t.Errorf("another one of the same project: %v", err)
	}
	if now := len(b.catalog.Read().Operations()); now != before {
		t.Error("an upload that waited for its turn has left an operation")
	}
	if _, err := im.Store(as(t.Context(), "p2"), b.request(), whole{bytes.NewReader([]byte("data"))}); err != nil {
		t.Errorf("another project: %v", err)
	}
	slow.Interrupt()
	if err := <-ended; !errors.Is(err, errInterrupted) {
		t.Errorf("the slow one: %v", err)
	}
	if im.uploads.Taken() != 0 {
		t.Errorf("%d places are still taken", im.uploads.Taken())
	}
}
