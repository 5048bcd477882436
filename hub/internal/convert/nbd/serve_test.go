package nbd

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"runtime"
	"strings"
	"testing"
)

func TestRead(t *testing.T) {
	t.Parallel()
	data := bytes.Repeat([]byte("0123456789"), 1000)
	c := connect(t, Export{Size: int64(len(data)), Reader: bytes.NewReader(data)})
	c.enter()
	for _, at := range [][2]int{{0, 1}, {5, 9000}, {9999, 1}, {0, 10000}} {
		errno, got := c.request(cmdRead, uint64(at[0]), uint32(at[1]), nil)
		if errno != 0 || !bytes.Equal(got, data[at[0]:at[0]+at[1]]) {
			t.Errorf("%v: error %d, %d bytes", at, errno, len(got))
		}
	}
	c.send(uint32(magicRequest), uint16(0), uint16(cmdDisc), uint64(1), uint64(0), uint32(0))
	if err := c.end(); err != nil {
		t.Errorf("after DISC: %v", err)
	}
}

func TestWrite(t *testing.T) {
	t.Parallel()
	m := &memory{data: bytes.Repeat([]byte{'x'}, 9<<20)}
	c := connect(t, Export{Size: int64(len(m.data)), Writer: m})
	c.enter()
	big := bytes.Repeat([]byte("ab"), MaxRequest/2)
	for _, step := range []struct {
		command uint16
		off     uint64
		length  uint32
		data    []byte
	}{
		{cmdWrite, 1, 3, []byte("yes")},
		{cmdWrite, 1 << 20, MaxRequest, big},
		{cmdWriteZeroes, 5 << 20, 4 << 20, nil},
	} {
		if errno, _ := c.request(step.command, step.off, step.length, step.data); errno != 0 {
			t.Errorf("command %d: error %d", step.command, errno)
		}
	}
	if err := c.end(); !errors.Is(err, ErrGone) {
		t.Errorf("without a word: %v", err)
	}
	want := bytes.Repeat([]byte{'x'}, 9<<20)
	copy(want[1:], "yes")
	copy(want[1<<20:], big)
	clear(want[5<<20:])
	if !bytes.Equal(m.data, want) || m.zeroed != 4<<20 {
		t.Error("the data differs")
	}
}

// The ways to ask for the export, and to ask for what is not there.
func TestHandshake(t *testing.T) {
	t.Parallel()
	size := uint64(4096)
	export := Export{Size: int64(size), Reader: bytes.NewReader(make([]byte, size))}
	info := func(t *testing.T, name string, count uint16, items ...any) []byte {
		t.Helper()
		return encode(t, append([]any{uint32(len(name)), []byte(name), count}, items...)...)
	}
	t.Run("options", func(t *testing.T) {
		t.Parallel()
		c := connect(t, export)
		c.hello()
		for _, step := range []struct {
			id   uint32
			data []byte
			want uint32
		}{
			{8, nil, repErrUnsup},             // structured replies
			{5, nil, repErrUnsup},             // TLS
			{10, []byte("base"), repErrUnsup}, // block status
			{4711, []byte("?"), repErrUnsup},  // nothing
			{optInfo, nil, repErrInvalid},     // too short
			{optInfo, info(t, "", 1), repErrInvalid},
			{optInfo, info(t, "", 0, uint16(3)), repErrInvalid},
			{optInfo, encode(t, uint32(math.MaxUint32), uint16(0)), repErrInvalid},
			{optInfo, encode(t, uint32(1), uint16(0)), repErrInvalid},
			{optGo, info(t, "other", 0), repErrUnknown},
			{optInfo, info(t, "", 2, uint16(0), uint16(3)), repAck},
			{optGo, info(t, "", 1, uint16(3)), repAck},
		} {
			if got := c.option(step.id, step.data); got != step.want {
				t.Errorf("option %d %x: %#x, want %#x", step.id, step.data, got, step.want)
			}
		}
		if errno, got := c.request(cmdRead, 0, 4096, nil); errno != 0 || len(got) != 4096 {
			t.Errorf("error %d, %d bytes", errno, len(got))
		}
		_ = c.end()
	})
	t.Run("abort", func(t *testing.T) {
		t.Parallel()
		c := connect(t, export)
		c.hello()
		if got := c.option(optAbort, nil); got != repAck {
			t.Errorf("answer %#x", got)
		}
		if err := c.end(); err != nil {
			t.Error(err)
		}
	})
	for name, zeroes := range map[string]int{"export name": 0, "export name with zeroes": exportNameZeroes} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := connect(t, export)
			_ = c.receive(18)
			flags := uint32(fixedNewstyle)
			if zeroes == 0 {
				flags |= noZeroes
			}
			c.send(flags, uint64(magicOption), uint32(optExportName), uint32(0))
			p := c.receive(10 + zeroes)
			if binary.BigEndian.Uint64(p) != size || binary.BigEndian.Uint16(p[8:]) != flagHasFlags|flagReadOnly {
				t.Errorf("answer %x", p[:10])
			}
			if errno, _ := c.request(cmdRead, 0, 1, nil); errno != 0 {
				t.Errorf("error %d", errno)
			}
			_ = c.end()
		})
	}
}

// A client that breaks a rule is cut off, whatever it breaks.
func TestHostileHandshakes(t *testing.T) {
	t.Parallel()
	for name, parts := range map[string][]any{
		"old style":             {uint32(0)},
		"unknown flags":         {uint32(0x80000001)},
		"bad magic":             {uint32(3), uint64(magicReply), uint32(optGo), uint32(0)},
		"endless option":        {uint32(3), uint64(magicOption), uint32(optGo), uint32(math.MaxUint32)},
		"long option":           {uint32(3), uint64(magicOption), uint32(4711), uint32(maxOption + 1)},
		"export with a name":    {uint32(3), uint64(magicOption), uint32(optExportName), uint32(1), []byte("x")},
		"transmission too soon": {uint32(3), uint32(magicRequest), uint32(0), uint64(0), uint64(0), uint32(512)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := connect(t, Export{Size: 512, Reader: bytes.NewReader(make([]byte, 512))})
			_ = c.receive(18)
			c.send(parts...)
			if err := <-c.done; !errors.Is(err, ErrProtocol) {
				t.Errorf("got %v", err)
			}
		})
	}
	t.Run("options for ever", func(t *testing.T) {
		t.Parallel()
		c := connect(t, Export{Size: 512, Reader: bytes.NewReader(make([]byte, 512))})
		c.hello()
		for range maxOptions {
			_ = c.option(4711, nil)
		}
		if err := <-c.done; !errors.Is(err, ErrProtocol) {
			t.Errorf("got %v", err)
		}
	})
}

func TestHostileRequests(t *testing.T) {
	t.Parallel()
	const size = 8 << 20
	reading := func() Export { return Export{Size: size, Reader: bytes.NewReader(make([]byte, size))} }
	writing := func() Export { return Export{Size: size, Writer: &memory{data: make([]byte, size)}} }
	for _, test := range []struct {
		name           string
		export         Export
		magic          uint32
		flags, command uint16
		off            uint64
		length         uint32
	}{
		{"bad magic", reading(), magicSimpleReply, 0, cmdRead, 0, 1},
		{"unknown command", reading(), magicRequest, 0, 4711, 0, 1},
		{"flush", writing(), magicRequest, 0, 3, 0, 0},
		{"trim", writing(), magicRequest, 0, 4, 0, 512},
		{"block status", reading(), magicRequest, 0, 7, 0, 512},
		{"write to a reader", reading(), magicRequest, 0, cmdWrite, 0, 1},
		{"zeroes to a reader", reading(), magicRequest, 0, cmdWriteZeroes, 0, 1},
		{"read from a writer", writing(), magicRequest, 0, cmdRead, 0, 1},
		{"read with FUA", reading(), magicRequest, 1, cmdRead, 0, 1},
		{"fast zeroes", writing(), magicRequest, 1 << 4, cmdWriteZeroes, 0, 1},
		{"nothing", reading(), magicRequest, 0, cmdRead, 0, 0},
		{"too much", reading(), magicRequest, 0, cmdRead, 0, MaxRequest + 1},
		{"far too much", writing(), magicRequest, 0, cmdWrite, 0, math.MaxUint32},
		{"behind the end", reading(), magicRequest, 0, cmdRead, size, 1},
		{"across the end", reading(), magicRequest, 0, cmdRead, size - 1, 2},
		{"negative", reading(), magicRequest, 0, cmdRead, 1 << 63, 1},
		{"overflow", reading(), magicRequest, 0, cmdRead, math.MaxUint64, 2},
		{"zeroes across the end", writing(), magicRequest, 0, cmdWriteZeroes, 1, math.MaxUint32},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := connect(t, test.export)
			c.enter()
			c.send(test.magic, test.flags, test.command, uint64(1), test.off, test.length)
			if err := <-c.done; !errors.Is(err, ErrProtocol) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// Half a message ends the connection like its end does.
func TestHalfMessages(t *testing.T) {
	t.Parallel()
	for name, half := range map[string][]any{
		"half a header": {uint32(magicRequest), uint16(0)},
		"half of data":  {uint32(magicRequest), uint16(0), uint16(cmdWrite), uint64(1), uint64(0), uint32(100), make([]byte, 50)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := &memory{data: bytes.Repeat([]byte{1}, 512)}
			c := connect(t, Export{Size: 512, Writer: m})
			c.enter()
			c.send(half...)
			if err := c.end(); !errors.Is(err, ErrGone) {
				t.Errorf("got %v", err)
			}
			if bytes.IndexByte(m.data, 0) >= 0 {
				t.Error("half a request was done")
			}
		})
	}
}

// The error of an export reaches the caller; the client learns that there was one.
func TestFailingExports(t *testing.T) {
	t.Parallel()
	lost := errors.New("lost")
	w := connect(t, Export{Size: 512, Writer: &memory{data: make([]byte, 512), fails: lost}})
	w.enter()
	if errno, _ := w.request(cmdWrite, 0, 1, []byte("x")); errno != errnoIO {
		t.Errorf("error %d", errno)
	}
	if err := w.end(); !errors.Is(err, lost) {
		t.Errorf("got %v", err)
	}
	short := connect(t, Export{Size: 512, Reader: strings.NewReader("only this")})
	short.enter()
	if errno, _ := short.request(cmdRead, 0, 20, nil); errno != errnoIO {
		t.Errorf("error %d", errno)
	}
	if err := short.end(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %v", err)
	}
	for _, e := range []Export{{Size: 1}, {Size: -1, Writer: &memory{}}, {Reader: strings.NewReader(""), Writer: &memory{}}} {
		if err := Serve(nil, e); err == nil {
			t.Errorf("%+v is served", e)
		}
	}
}

// script is a client that has said everything already.
type script struct{ io.Reader }

// Write implements io.Writer.
func (script) Write(p []byte) (int, error) { return len(p), nil }

// Whatever a client says, the server ends without a panic, stays in the export and within its memory.
func FuzzServe(f *testing.F) {
	be := binary.BigEndian
	hello := be.AppendUint32(nil, fixedNewstyle|noZeroes)
	enter := be.AppendUint64(hello, magicOption)
	enter = be.AppendUint32(enter, optExportName)
	enter = be.AppendUint32(enter, 0)
	for _, command := range []uint16{cmdRead, cmdWrite, cmdWriteZeroes, cmdDisc} {
		p := be.AppendUint32(bytes.Clone(enter), magicRequest)
		p = be.AppendUint32(p, uint32(command))
		p = be.AppendUint64(p, 1)
		p = be.AppendUint64(p, 2)
		p = be.AppendUint32(p, 3)
		f.Add(append(p, "abcdefgh"...), command == cmdRead)
	}
	f.Add(be.AppendUint32(be.AppendUint32(be.AppendUint64(bytes.Clone(hello), magicOption), optGo), 6), true)
	f.Fuzz(func(t *testing.T, said []byte, reading bool) {
		const size = 64 << 10
		e := Export{Size: size}
		if reading {
			e.Reader = bytes.NewReader(make([]byte, size))
		} else {
			e.Writer = &memory{data: make([]byte, size)}
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if err := Serve(script{bytes.NewReader(said)}, e); err == nil && len(said) < 20 {
			t.Error("it is content with nothing")
		}
		runtime.ReadMemStats(&after)
		if grown := after.TotalAlloc - before.TotalAlloc; grown > MaxRequest+maxOptions*2*maxOption+uint64(4*len(said))+1<<20 {
			t.Errorf("%d bytes of memory", grown)
		}
	})
}
