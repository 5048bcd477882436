package filerbd

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// state is the record kept beside the bytes of an image.
type state struct {
	Meta      map[string]string `json:"meta,omitempty"`
	Snapshot  bool              `json:"snapshot,omitempty"`
	Protected bool              `json:"protected,omitempty"`
}

func (p *Pool) loadState(id string) (state, error) {
	b, err := os.ReadFile(p.path(id, "state.json"))
	if err != nil {
		return state{}, p.fault(err)
	}
	var s state
	if err := json.Unmarshal(b, &s); err != nil {
		return state{}, p.fault(err)
	}
	return s, nil
}

// changeState reads, changes and durably replaces the record. change may refuse with an error.
func (p *Pool) changeState(id string, change func(*state) error) error {
	dir, err := os.Open(filepath.Join(p.dir, imagesDir, id))
	if err != nil {
		return p.fault(err)
	}
	defer func() { _ = dir.Close() }() // it was only read
	if err := flock(dir, unix.LOCK_EX); err != nil {
		return p.fault(err)
	}
	s, err := p.loadState(id)
	if err != nil {
		return err
	}
	if err := change(&s); err != nil {
		return err
	}
	return p.fault(storeState(dir, s))
}

// storeState replaces the record in dir: after a crash either the old or the new one is there, whole.
func storeState(dir *os.File, s state) error {
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	temp := filepath.Join(dir.Name(), "state.json.new")
	f, err := os.Create(temp)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(temp, filepath.Join(dir.Name(), "state.json")); err != nil {
		return err
	}
	return dir.Sync()
}
