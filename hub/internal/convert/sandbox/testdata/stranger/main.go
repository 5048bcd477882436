// Command stranger does what a program should not do, one thing for each argument in turn, and says on stderr what came of it.
package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

func main() {
	for _, arg := range os.Args[1:] {
		what, with, _ := strings.Cut(arg, "=")
		err := do(what, with)
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s: refused: %v\n", what, err)
			continue
		}
		fmt.Fprintf(os.Stderr, "%s: done\n", what)
	}
}

func do(what, with string) error {
	switch what {
	case "--version":
		return nil
	case "read":
		_, err := os.ReadFile(with)
		return err
	case "list":
		entries, err := os.ReadDir(with)
		if err == nil && len(entries) == 0 {
			return errors.New("empty")
		}
		return err
	case "write":
		f, err := os.OpenFile(with, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		_, err = f.Write(make([]byte, 10))
		return err
	case "create":
		return os.WriteFile(with, nil, 0o600)
	case "tcp", "unix":
		conn, err := net.DialTimeout(what, with, 10*time.Second)
		if err != nil {
			return err
		}
		return conn.Close()
	case "fork":
		return child(with, "--version").Run()
	case "leave": // a child that stays and holds what it got
		cmd := child(with, "sleep")
		cmd.ExtraFiles = []*os.File{os.NewFile(4, "held")} // as 3
		return cmd.Start()
	case "exec":
		return syscall.Exec(with, []string{with}, nil)
	case "signal":
		pid, err := strconv.Atoi(with)
		if err != nil {
			return err
		}
		return syscall.Kill(pid, 0)
	case "prlimit": // reads and sets the limits of another process as they are
		pid, err := strconv.Atoi(with)
		if err != nil {
			return err
		}
		var l syscall.Rlimit
		for _, p := range [][2]*syscall.Rlimit{{nil, &l}, {&l, nil}} {
			_, _, errno := syscall.Syscall6(syscall.SYS_PRLIMIT64, uintptr(pid), syscall.RLIMIT_NOFILE,
				uintptr(unsafe.Pointer(p[0])), uintptr(unsafe.Pointer(p[1])), 0, 0)
			if errno != 0 {
				return errno
			}
		}
		return nil
	case "owner": // would send another process the signals of a file
		pid, err := strconv.Atoi(with)
		if err != nil {
			return err
		}
		if _, _, errno := syscall.Syscall(syscall.SYS_FCNTL, 2, syscall.F_SETOWN, uintptr(pid)); errno != 0 {
			return errno
		}
		return nil
	case "itself": // may be sent signals
		return syscall.Kill(syscall.Getpid(), syscall.SIGURG)
	case "files":
		var held []*os.File
		for range 1000 {
			f, err := os.Open("/")
			if err != nil {
				return err
			}
			held = append(held, f)
		}
		runtime.KeepAlive(held)
		return nil
	case "uid":
		return syscall.Setuid(0)
	case "rights":
		status, err := os.ReadFile("/proc/self/status")
		if err != nil {
			return err
		}
		fmt.Fprintln(os.Stderr, string(status))
		return nil
	case "environment":
		fmt.Fprintln(os.Stderr, os.Environ())
		return nil
	case "limit":
		var l syscall.Rlimit
		n, err := strconv.Atoi(with)
		if err == nil {
			err = syscall.Getrlimit(n, &l)
		}
		fmt.Fprintf(os.Stderr, "limit %s: %d %d\n", with, l.Cur, l.Max)
		return err
	case "memory":
		var held [][]byte
		for range 1 << 20 {
			held = append(held, make([]byte, 64<<20))
		}
		runtime.KeepAlive(held)
		return nil
	case "spin":
		for i := 0; ; i++ {
			_ = i
		}
	case "talk":
		for {
			if _, err := os.Stderr.WriteString(strings.Repeat("blah ", 1000)); err != nil {
				return err
			}
		}
	case "sleep":
		time.Sleep(time.Hour)
		return nil
	case "exit":
		os.Exit(3)
	}
	return errors.New("unknown")
}

// child is a process that needs no other file.
func child(program, arg string) *exec.Cmd {
	cmd := exec.Command(program, arg)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	return cmd
}
