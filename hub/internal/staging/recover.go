package staging

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/atoll-dcn/atoll/pkg/frame"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/manifest"
)

// recover finds the committed contents and their frames and removes what a crash has left half done. Manifests are read
// when they are used first.
func (a *Area) recover() error {
	root := filepath.Join(a.o.Dir, contentsDir)
	entries, err := os.ReadDir(root)
	if err != nil {
		return diskFault(err)
	}
	for _, e := range entries {
		id, err := image.ParseID("content", e.Name())
		if err != nil {
			a.o.Log.Warn("staging area holds something foreign", "name", e.Name())
			continue
		}
		c := newContent(a.o.Dir, id, a.o.Now())
		switch _, err := os.Stat(c.manifestPath()); {
		case errors.Is(err, fs.ErrNotExist):
			a.o.Log.Info("removing content that was never committed", "content", id)
			if err := os.RemoveAll(c.dir); err != nil {
				return diskFault(err)
			}
			continue
		case err != nil:
			return diskFault(err)
		}
		if err := a.recoverFrames(c); err != nil {
			return err
		}
		_, err = os.Stat(c.sketchPath())
		c.state, c.recovered, c.like.stored = complete, true, err == nil
		a.contents[id] = c
	}
	a.o.Log.Info("staging area opened", "contents", len(a.contents), "used_bytes", a.used, "limit_bytes", a.o.Limit)
	return nil
}

func (a *Area) recoverFrames(c *content) error {
	dir := filepath.Join(c.dir, framesDir)
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return diskFault(err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			return diskFault(err)
		}
		index, err := strconv.Atoi(e.Name())
		if err != nil || index < 0 || index >= manifest.MaxChunks || info.Size() <= frame.HeaderSize || info.Size() > frame.MaxSize {
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
				return diskFault(err)
			}
			continue
		}
		c.frames[index] = &file{c: c, index: index, size: info.Size(), last: info.ModTime()}
		a.used += info.Size()
	}
	return nil
}
