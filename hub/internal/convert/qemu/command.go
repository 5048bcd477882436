package qemu

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/atoll-dcn/atoll/hub/internal/convert/sandbox"
)

// drivers are qemu's names for the formats, with what must not be left to its judgement.
var drivers = map[string]node{
	"qcow2": {"driver": "qcow2"},
	"vdi":   {"driver": "vdi"},
	"vhd":   {"driver": "vpc", "force_size_calc": "current_size"}, // not the geometry, which is rounded
	"vhdx":  {"driver": "vhdx"},
	"vmdk":  {"driver": "vmdk"},
}

// node is a node of qemu's block layer.
type node map[string]any

// Formats returns the formats that Convert reads, sorted.
func Formats() []string {
	var names []string
	for name := range drivers {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// The files of qemu-img: numbers of connections.
const (
	imageFile = sandbox.FirstFile + iota
	markFile
	diskFile
)

// arguments returns those of qemu-img for an image of a format.
func arguments(format string) ([]string, error) {
	driver, ok := drivers[format]
	if !ok {
		return nil, fmt.Errorf("qemu-img is not asked to read %q", format)
	}
	image := node{"backing": nil, "read-only": true, "file": connection(imageFile)}
	maps.Copy(image, driver)
	args := []string{"convert", "-q", "-n", "--target-is-zero", "-m", "1", "-S", "1M", "-t", "unsafe"}
	for _, n := range []node{
		image,
		{"driver": "raw", "read-only": true, "file": connection(markFile)},
		{"driver": "raw", "file": connection(diskFile)},
	} {
		text, err := json.Marshal(n)
		if err != nil {
			return nil, err
		}
		args = append(args, "json:"+string(text))
	}
	return args, nil
}

// connection is an NBD export at the other end of an open socket.
func connection(fd int) node {
	return node{"driver": "nbd", "server": node{"type": "fd", "str": strconv.Itoa(fd)}}
}
