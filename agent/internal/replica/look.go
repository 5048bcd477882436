package replica

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
)

// found is what the pool holds under one name.
type found struct {
	exists    bool
	content   image.ID // empty: neither written nor taken over by an agent
	root      string   // root digest in hex; empty: never verified
	verified  *agentv1.Verification
	snapshot  bool
	protected bool
}

// find looks at one name.
func (s *store) find(ctx context.Context, name string) (f found, err error) {
	img, err := s.pool.Open(ctx, name)
	if fault.Is(err, fault.NotFound) {
		return found{}, nil
	}
	if err != nil {
		return found{}, atStore(err)
	}
	defer func() { _ = img.Close() }()
	f.exists = true
	if f.snapshot, f.protected, err = img.SnapshotState(ctx); err != nil {
		return found{}, atStore(err)
	}
	content, err := img.Meta(ctx, metaContent)
	if err != nil {
		return found{}, atStore(err)
	}
	owner, err := img.Meta(ctx, metaImage)
	if err != nil {
		return found{}, atStore(err)
	}
	if content == "" || !strings.HasSuffix(name, owner) {
		return f, nil
	}
	f.content = image.ID(content)
	if f.root, err = img.Meta(ctx, metaManifest); err != nil {
		return found{}, atStore(err)
	}
	verified, err := img.Meta(ctx, metaVerified)
	if err != nil {
		return found{}, atStore(err)
	}
	f.verified = parseVerified(verified)
	return f, nil
}

// formatVerified makes the metadata value of a verification that was carried out: generation, Unix time and number of
// damaged chunks. It is kept with the image so that a new agent need not read all copies again.
func formatVerified(v *agentv1.Verification) string {
	return fmt.Sprintf("%d %d %d", v.Generation, v.Time.GetSeconds(), v.ChunksDamaged)
}

// parseVerified returns nil when s is no such value.
func parseVerified(s string) *agentv1.Verification {
	f := strings.Fields(s)
	if len(f) != 3 {
		return nil
	}
	generation, err1 := strconv.ParseUint(f[0], 10, 64)
	seconds, err2 := strconv.ParseInt(f[1], 10, 64)
	damaged, err3 := strconv.ParseInt(f[2], 10, 64)
	if err1 != nil || err2 != nil || err3 != nil {
		return nil
	}
	return &agentv1.Verification{Generation: generation, Time: timestamppb.New(time.Unix(seconds, 0)), ChunksDamaged: damaged}
}
