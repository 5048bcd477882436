// Command osd reads a counter of a Ceph OSD through its admin socket, in a fraction of a millisecond:
//
//	osd SOCKET NAME          prints the counter NAME of the section "osd"
//	osd SOCKET NAME LEAST    waits until it is LEAST or more
package main

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"time"
)

// pause is the time between two looks: what is waited for takes a hundred times as long.
const pause = 5 * time.Millisecond

// counter asks once.
func counter(socket, name string) (int64, error) {
	c, err := net.Dial("unix", socket)
	if err != nil {
		return 0, err
	}
	defer func() { _ = c.Close() }()
	if _, err := fmt.Fprintf(c, "{\"prefix\": \"perf dump\", \"logger\": \"osd\", \"counter\": %q, \"format\": \"json\"}\x00", name); err != nil {
		return 0, err
	}
	var length uint32
	if err := binary.Read(c, binary.BigEndian, &length); err != nil {
		return 0, err
	}
	var answer map[string]map[string]int64
	if err := json.NewDecoder(io.LimitReader(c, int64(length))).Decode(&answer); err != nil {
		return 0, err
	}
	n, ok := answer["osd"][name]
	if !ok {
		return 0, fmt.Errorf("the OSD has no counter %q", name)
	}
	return n, nil
}

func run(args []string) error {
	if len(args) != 2 && len(args) != 3 {
		return fmt.Errorf("usage: osd SOCKET NAME [LEAST]")
	}
	if len(args) == 2 {
		n, err := counter(args[0], args[1])
		if err == nil {
			fmt.Println(n)
		}
		return err
	}
	least, err := strconv.ParseInt(args[2], 10, 64)
	if err != nil {
		return err
	}
	for {
		n, err := counter(args[0], args[1])
		if err != nil || n >= least {
			return err
		}
		<-time.After(pause)
	}
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "osd:", err)
		os.Exit(1)
	}
}
