package replica

import (
	"context"

	"github.com/atoll-dcn/atoll/agent/internal/rbd"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/manifest"
)

// unknownLength is the length with which a hidden image of unknown length begins. Space is taken by what is written only.
const unknownLength = 1 << 30

// open opens or creates the hidden image, steps 1 and 2 of the package comment, and finds out what it holds.
func (f *fill) open(ctx context.Context) error {
	img, err := f.s.pool.Open(ctx, hiddenName(f.j.key.Image))
	switch {
	case fault.Is(err, fault.NotFound):
		if img, err = f.create(ctx); err != nil {
			return err
		}
	case err != nil:
		return atStore(err)
	}
	f.img, f.size = img, img.Size()
	if err := f.takeOver(ctx); err != nil {
		return err
	}
	err = img.Extents(ctx, func(off, length int64) error {
		for i := off / manifest.ChunkSize; i*manifest.ChunkSize < off+length; i++ {
			f.before.add(int(i))
		}
		return nil
	})
	if err != nil {
		return atStore(err)
	}
	if f.jour, err = f.m.cfg.Journal.Open(f.j.key, f.j.want.content); err != nil {
		f.jour = nil
		f.log.Warn("journal not usable, the image will be read instead", "error", err)
	}
	return nil
}

func (f *fill) create(ctx context.Context) (img rbd.Image, err error) {
	if err := f.m.cfg.Journal.Remove(f.j.key); err != nil {
		return nil, err
	}
	size := f.j.want.size
	if size == 0 {
		size = unknownLength
	}
	err = f.m.firmly(ctx, f.s, func(ctx context.Context) error {
		img, err = f.s.pool.Create(ctx, hiddenName(f.j.key.Image), size)
		return err
	})
	return img, err
}

// takeOver makes the hidden image one of the wanted content that can be written.
func (f *fill) takeOver(ctx context.Context) error {
	snapshot, _, err := f.img.SnapshotState(ctx)
	if err != nil {
		return atStore(err)
	}
	if snapshot {
		if err := f.m.firmly(ctx, f.s, f.img.RemoveSnapshot); err != nil {
			return err
		}
	}
	content, err := f.img.Meta(ctx, metaContent)
	if err != nil {
		return atStore(err)
	}
	kept := newLedger(f.j.want.content, f.m.pace.ledger)
	if err := kept.load(ctx, f.img, f.size); err != nil {
		return err
	}
	same := content == string(f.j.want.content)
	if same && f.s.sums {
		f.ledger = kept
		return nil
	}
	err = f.m.firmly(ctx, f.s, func(ctx context.Context) error {
		if err := kept.drop(ctx, f.img); err != nil || same {
			return err
		}
		if err := f.img.SetMeta(ctx, metaImage, string(f.j.key.Image)); err != nil {
			return err
		}
		return f.img.SetMeta(ctx, metaContent, string(f.j.want.content))
	})
	if err == nil && f.s.sums {
		f.ledger = newLedger(f.j.want.content, f.m.pace.ledger)
	}
	return err
}

// fit makes the hidden image at least n bytes long.
func (f *fill) fit(ctx context.Context, n int64) error {
	f.sizeMu.Lock()
	defer f.sizeMu.Unlock()
	if n <= f.size {
		return nil
	}
	size := min(max(n, 2*f.size), manifest.MaxLength)
	if err := f.m.firmly(ctx, f.s, func(ctx context.Context) error { return f.img.Resize(ctx, size) }); err != nil {
		return err
	}
	f.size = size
	return nil
}

// sizeNow returns the length of the hidden image.
func (f *fill) sizeNow() int64 {
	f.sizeMu.Lock()
	defer f.sizeMu.Unlock()
	return f.size
}
