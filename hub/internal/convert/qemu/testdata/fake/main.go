// Command fake takes the place of qemu-img and does what its name says with the three connections that it gets.
package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

func main() {
	if len(os.Args) == 2 && os.Args[1] == "--version" {
		return
	}
	image, mark, disk := os.NewFile(4, "image"), os.NewFile(5, "mark"), os.NewFile(6, "disk")
	switch name := filepath.Base(os.Args[0]); name {
	case "memory":
		var held [][]byte
		for {
			held = append(held, make([]byte, 64<<20))
			runtime.KeepAlive(held)
		}
	case "spin":
		for i := 0; ; i++ {
			_ = i
		}
	case "sleep":
		time.Sleep(time.Hour)
	case "talk":
		for {
			if _, err := os.Stderr.WriteString(strings.Repeat("/secret/path ", 1000)); err != nil {
				os.Exit(1)
			}
		}
	case "fail":
		fmt.Fprintln(os.Stderr, "fake: /secret/path: Invalid argument")
		os.Exit(1)
	case "nothing":
	case "garbage":
		for _, f := range []*os.File{image, mark, disk} {
			_, _ = f.Write([]byte(strings.Repeat("what is this? ", 1000)))
		}
		_, _ = io.Copy(io.Discard, disk)
	case "half":
		_, _ = disk.Write([]byte{0, 0, 0})
	default:
		write(name, image, mark, disk)
	}
}

// write copies the image to the disk, more or less.
func write(name string, image, mark, disk *os.File) {
	enter(image)
	size := enter(disk) - enter(mark)
	end := request(mark, 0, 0, 512, nil)
	block := size / 4
	data := request(image, 0, 0, uint32(block), nil)
	put := func(at int64) { request(disk, 1, at, uint32(len(data)), data) }
	finish := func(at int64) { request(disk, 1, at, 512, end) }
	switch name {
	case "copy":
		put(0)
		put(block)
		request(disk, 6, 2*block, uint32(block), nil)
		put(3 * block)
		finish(size)
	case "gaps":
		put(block)
		finish(size)
	case "little":
		put(0)
	case "unmarked":
		for i := range int64(4) {
			put(i * block)
		}
	case "early":
		put(0)
		finish(block)
	case "much":
		put(size - block/2)
	case "behind":
		put(size)
	case "back":
		put(block)
		put(0)
	case "twice":
		put(0)
		put(0)
	case "zero-back":
		put(block)
		request(disk, 6, 0, uint32(block), nil)
	case "after":
		finish(size)
		put(0)
	case "marks":
		finish(size)
		finish(size)
	case "look":
		request(disk, 0, 0, 512, nil)
	}
}

var be = binary.BigEndian

// enter takes the export of a connection and returns its size.
func enter(f *os.File) int64 {
	read(f, 18)
	p := be.AppendUint32(nil, 3)
	p = be.AppendUint64(p, 0x49484156454f5054)
	p = be.AppendUint32(p, 1)
	must(f.Write(be.AppendUint32(p, 0)))
	return int64(be.Uint64(read(f, 10)))
}

// request does one and returns what was read.
func request(f *os.File, command uint16, at int64, length uint32, data []byte) []byte {
	p := be.AppendUint32(nil, 0x25609513)
	p = be.AppendUint16(p, 0)
	p = be.AppendUint16(p, command)
	p = be.AppendUint64(p, 1)
	p = be.AppendUint64(p, uint64(at))
	p = be.AppendUint32(p, length)
	must(f.Write(append(p, data...)))
	if errno := be.Uint32(read(f, 16)[4:]); errno != 0 {
		fmt.Fprintln(os.Stderr, "error", errno)
		os.Exit(1)
	}
	if command == 0 {
		return read(f, int(length))
	}
	return nil
}

func read(f *os.File, n int) []byte {
	p := make([]byte, n)
	must(io.ReadFull(f, p))
	return p
}

func must(_ int, err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
