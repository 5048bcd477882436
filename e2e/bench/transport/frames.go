package main

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
)

const (
	frameSize    = 4 << 20
	frameCount   = 32 // distinct files
	framesPerGiB = 1 << 30 / frameSize
)

// makeFrames writes files of random bytes, which the page cache keeps.
func makeFrames() (string, error) {
	dir, err := os.MkdirTemp("", "atoll-transport-")
	if err != nil {
		return "", err
	}
	b := make([]byte, frameSize)
	for i := range frameCount {
		_, _ = rand.Read(b) // never fails
		if err := os.WriteFile(framePath(dir, i), b, 0o600); err != nil {
			return "", err
		}
	}
	return dir, nil
}

func framePath(dir string, i int) string {
	return filepath.Join(dir, fmt.Sprint(i%frameCount))
}
