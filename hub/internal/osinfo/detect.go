package osinfo

import (
	"context"
	"errors"
	"io"
)

// Detect returns the values of the properties os_distro and os_version for the system on a disk of size bytes, empty when
// they are not certain. version alone may be empty: some distributions have none. The distro is in lower case, with the names that
// OpenStack and libosinfo use.
//
// It reads at most 8 MiB of the disk, in small pieces, and ends early when ctx ends. disk must not block for ever.
func Detect(ctx context.Context, disk io.ReaderAt, size int64) (distro, version string) {
	whole := view{budget: &budget{ctx: ctx, disk: disk, left: maxBytes}, size: size}
	places, err := volumes(whole)
	if err != nil {
		return "", ""
	}
	var found release
	for _, v := range places {
		r, err := inspect(v)
		switch {
		case errors.Is(err, errNotFound):
			continue
		case err != nil, found != release{} && found != r:
			return "", ""
		}
		found = r
	}
	return found.distro, found.version
}

// The places of the file that names the system, the one that counts first.
var files = []string{"/etc/os-release", "/usr/lib/os-release"}

// inspect reads what system is on one volume. errNotFound says that there is none.
func inspect(v view) (release, error) {
	fs, err := open(v)
	if err != nil {
		return release{}, err
	}
	for _, path := range files {
		f, err := walk(fs, path)
		if errors.Is(err, errNotFound) {
			continue
		}
		if err != nil {
			return release{}, err
		}
		text, err := content(fs, f)
		if err != nil {
			return release{}, err
		}
		return parseRelease(text)
	}
	return release{}, errNotFound
}

// open recognises the file system of a volume; errNotFound for those that are not read.
func open(v view) (fileSystem, error) {
	fs, err := openXFS(v)
	if !errors.Is(err, errNotFound) {
		return fs, err
	}
	return openExt(v)
}
