package replica

import (
	"context"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/atoll-dcn/atoll/pkg/fault"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
)

// freeze takes the snapshot of what has been written, step 4 of the package comment.
func (f *fill) freeze(ctx context.Context) error {
	if f.size != f.man.Length {
		if err := f.m.firmly(ctx, f.s, func(ctx context.Context) error { return f.img.Resize(ctx, f.man.Length) }); err != nil {
			return err
		}
		f.size = f.man.Length
	}
	if err := f.img.Flush(ctx); err != nil {
		return atStore(err)
	}
	err := f.m.firmly(ctx, f.s, f.img.CreateSnapshot)
	if !fault.Is(err, fault.Exists) {
		return err
	}
	// One that an abandoned call made late; nobody knows of when.
	if err := f.m.firmly(ctx, f.s, f.img.RemoveSnapshot); err != nil {
		return err
	}
	return f.m.firmly(ctx, f.s, f.img.CreateSnapshot)
}

// check compares the snapshot with the manifest and returns the chunks that differ, step 5.
func (f *fill) check(ctx context.Context) ([]int, error) {
	f.m.enter(f.j, agentv1.ReplicaState_REPLICA_STATE_VERIFYING)
	snap, err := f.s.pool.OpenSnapshot(ctx, hiddenName(f.j.key.Image))
	if err != nil {
		return nil, atStore(err)
	}
	defer closed(snap)
	c := &comparison{snap: snap, man: f.man, stock: f.s.writing, sums: f.gather(), proved: f.proved}
	return c.run(ctx)
}

// repair writes damaged chunks again.
func (f *fill) repair(ctx context.Context, damaged []int) error {
	f.m.enter(f.j, agentv1.ReplicaState_REPLICA_STATE_FILLING)
	if err := f.m.firmly(ctx, f.s, f.img.RemoveSnapshot); err != nil {
		return err
	}
	return f.pump(ctx, nil, func(ctx context.Context, out chan<- chunk) error {
		for _, i := range damaged {
			f.corrupt(whereStore, i)
			f.track.undo(i)
			if f.sums != nil {
				f.sums[i] = 0
			}
			if f.jour != nil {
				if err := f.jour.Forget(i); err != nil {
					f.log.Debug("journal not written", "chunk", i, "error", err)
				}
			}
			select {
			case out <- chunk{i: i, digest: f.man.Chunks[i], damaged: true}:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
}

// proof is what is known of a copy that has just been checked.
func (f *fill) proof() *agentv1.Verification {
	return &agentv1.Verification{Time: timestamppb.New(f.m.cfg.Now())}
}

// publish makes the copy visible, steps 6 to 8.
func (f *fill) publish(ctx context.Context) error {
	proof := formatVerified(f.proof())
	err := f.m.firmly(ctx, f.s, func(ctx context.Context) error {
		if err := f.ledger.drop(ctx, f.img); err != nil {
			return err
		}
		if err := f.img.SetMeta(ctx, metaVerified, proof); err != nil {
			return err
		}
		return f.img.SetMeta(ctx, metaManifest, f.root.String())
	})
	if err != nil {
		return err
	}
	if err := f.m.firmly(ctx, f.s, f.img.ProtectSnapshot); err != nil {
		return err
	}
	if err := f.img.Close(); err != nil {
		f.log.Debug("hidden image not closed", "error", err)
	}
	f.img = nil
	hidden, published := hiddenName(f.j.key.Image), publishedName(f.j.key.Image)
	err = f.m.firmly(ctx, f.s, func(ctx context.Context) error { return f.s.pool.Rename(ctx, hidden, published) })
	if fault.Is(err, fault.Exists) {
		return atStore(fault.Wrap(err, fault.Precondition, "NAME_TAKEN", "the pool holds an image of this name already"))
	}
	if err != nil {
		return err
	}
	f.m.keepSums(f.j, f.root, f.man, f.sums)
	if f.jour != nil {
		_ = f.jour.Close()
		f.jour = nil
	}
	if err := f.m.cfg.Journal.Remove(f.j.key); err != nil {
		f.log.Warn("journal not removed", "error", err)
	}
	return nil
}
