package app

import (
	"context"
	"path/filepath"

	"github.com/spf13/pflag"

	"github.com/atoll-dcn/atoll/hub/internal/compact"
	"github.com/atoll-dcn/atoll/hub/internal/staging"
	"github.com/atoll-dcn/atoll/pkg/frame"
	"github.com/atoll-dcn/atoll/pkg/image"
)

func (c *Config) compacting(f *pflag.FlagSet) {
	f.StringVar(&c.CompactLimit, "compact-limit", "5GiB",
		"most space of compressed chunks and of differences to earlier images, made for slow links; 0 for none of them")
}

// compactLimit returns the size of the cache of shorter frames in bytes; 0 for none.
func (c *Config) compactLimit() (int64, error) {
	if c.CompactLimit == "" || c.CompactLimit == "0" {
		return 0, nil
	}
	return parseSize("compact-limit", c.CompactLimit)
}

// compacter makes shorter frames.
type compacter interface {
	frame.Compact
	Run(ctx context.Context) error
}

// openCompact opens the cache of shorter frames; nil when there should be none.
func (h *hub) openCompact() (compacter, error) {
	limit, err := h.compactLimit()
	if err != nil || limit == 0 {
		return nil, err
	}
	return compact.New(compact.Options{
		Dir: filepath.Join(h.DataDir, "compact"), Limit: limit, Contents: stagedContents{h.area},
		Log: h.log.Named("compact"), Registry: h.registry,
	})
}

// stagedContents is the staging area as package compact reads it.
type stagedContents struct{ *staging.Area }

// Open returns a reader of a content.
func (c stagedContents) Open(ctx context.Context, content image.ID) compact.Reader {
	return c.Reader(ctx, content)
}
