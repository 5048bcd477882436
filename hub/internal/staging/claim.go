package staging

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

// claims bounds how often Claim looks again because another hub was faster.
const claims = 10

// Claim takes over the staging area in a directory that several hubs share, and returns the directory to open. term is the
// caller's place in the election, higher for every later leader.
//
// The area is a directory named after the term of the hub that has it. A new leader renames it. All files are named by
// paths and none of their parents is ever made again, so from that moment an earlier leader that is paused or cut off can
// change nothing in it, whatever it believes. A lock could not do that: a stopped process keeps its locks.
//
// Conflict (NOT_LEADER) when a later leader has the area; Unavailable (ReasonDisk).
func Claim(dir string, term int64) (string, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", diskFault(err)
	}
	mine := filepath.Join(dir, areaName(term))
	for range claims {
		terms, err := areas(dir)
		if err != nil {
			return "", err
		}
		if len(terms) > 0 && terms[0] > term {
			return "", fault.New(fault.Conflict, "NOT_LEADER", "a hub that was elected later (%d) has the staging area", terms[0])
		}
		if err := take(dir, terms, mine); errors.Is(err, fs.ErrNotExist) {
			continue // it has just been taken away
		} else if err != nil {
			return "", diskFault(err)
		}
		return mine, clean(dir, mine, terms)
	}
	return "", fault.New(fault.Unavailable, ReasonDisk, "the staging area is taken over by other hubs again and again")
}

// areaName returns the name of the area of a term. Names sort like terms.
func areaName(term int64) string { return fmt.Sprintf("area-%019d", term) }

// areas returns the terms of the areas in a directory, the latest first.
func areas(dir string) ([]int64, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, diskFault(err)
	}
	var terms []int64
	for _, e := range entries {
		var term int64
		if n, _ := fmt.Sscanf(e.Name(), "area-%d", &term); n == 1 && e.Name() == areaName(term) {
			terms = append(terms, term)
		}
	}
	slices.Sort(terms)
	slices.Reverse(terms)
	return terms, nil
}

// take makes the latest area mine, or one that a single hub has left in the directory itself, or an empty one.
func take(dir string, terms []int64, mine string) error {
	if len(terms) > 0 {
		return os.Rename(filepath.Join(dir, areaName(terms[0])), mine)
	}
	if err := os.Mkdir(mine, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	err := os.Rename(filepath.Join(dir, contentsDir), filepath.Join(mine, contentsDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// clean removes what is left of areas that were taken earlier, and the lock, which an earlier leader may still hold.
func clean(dir, mine string, terms []int64) error {
	var failed error
	for _, term := range terms[min(1, len(terms)):] {
		failed = errors.Join(failed, os.RemoveAll(filepath.Join(dir, areaName(term))))
	}
	if err := os.Remove(filepath.Join(mine, "lock")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		failed = errors.Join(failed, err)
	}
	if failed != nil {
		return diskFault(failed)
	}
	return nil
}

// Discard removes all contents of an area that no process has open. Without an area it does nothing. Precondition
// (STAGING_IN_USE), Unavailable (ReasonDisk).
func Discard(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, contentsDir)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	lock, err := lockDir(dir)
	if err != nil {
		return err
	}
	defer func() { _ = lock.Close() }()
	if err := os.RemoveAll(filepath.Join(dir, contentsDir)); err != nil {
		return diskFault(err)
	}
	return nil
}
