package qemu

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/atoll-dcn/atoll/hub/internal/convert"
	"github.com/atoll-dcn/atoll/hub/internal/convert/nbd"
	"github.com/atoll-dcn/atoll/pkg/fault"
)

var (
	fakes    string // directory of what takes the place of qemu-img
	building sync.Mutex
)

// fake returns a program that does what its name says.
func fake(t *testing.T, name string) string {
	t.Helper()
	building.Lock()
	defer building.Unlock()
	program, path := filepath.Join(fakes, "fake"), filepath.Join(fakes, name)
	if _, err := os.Stat(program); err != nil {
		cmd := exec.CommandContext(t.Context(), "go", "build", "-o", program, "./testdata/fake")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("go build: %v\n%s", err, out)
		}
		if err := os.Chmod(fakes, 0o755); err != nil { //nolint:gosec // another user runs it
			t.Fatal(err)
		}
	}
	if err := os.Link(program, path); err != nil && !errors.Is(err, os.ErrExist) {
		t.Fatal(err)
	}
	return path
}

// Whatever takes the place of qemu-img does, a conversion ends with a reason that users may read, or with a disk that is whole.
func TestFakes(t *testing.T) {
	t.Parallel()
	const size = 4 << 20
	image := bytes.Repeat([]byte{1}, size)
	quarter, zeroes := image[:size/4], make([]byte, size/4)
	for _, test := range []struct {
		name   string
		reason string
		want   []byte
	}{
		{"copy", "", bytes.Join([][]byte{quarter, quarter, zeroes, quarter}, nil)},
		{"gaps", "", bytes.Join([][]byte{zeroes, quarter, zeroes, zeroes}, nil)},
		{"little", convert.ReasonDamaged, nil},
		{"unmarked", convert.ReasonDamaged, nil},
		{"early", convert.ReasonDamaged, nil},
		{"much", convert.ReasonDamaged, nil},
		{"behind", convert.ReasonDamaged, nil},
		{"back", convert.ReasonDamaged, nil},
		{"twice", convert.ReasonDamaged, nil},
		{"zero-back", convert.ReasonDamaged, nil},
		{"after", convert.ReasonDamaged, nil},
		{"marks", convert.ReasonDamaged, nil},
		{"look", convert.ReasonDamaged, nil},
		{"garbage", convert.ReasonDamaged, nil},
		{"half", convert.ReasonDamaged, nil},
		{"nothing", convert.ReasonDamaged, nil},
		{"fail", convert.ReasonDamaged, nil},
		{"talk", convert.ReasonDamaged, nil},
		{"memory", convert.ReasonLimit, nil},
		{"spin", convert.ReasonLimit, nil},
		{"sleep", convert.ReasonLimit, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			o := Options{Program: fake(t, test.name), CPU: 5 * time.Minute}
			switch test.name {
			case "spin":
				o.CPU, o.Time = time.Second, time.Hour
			case "sleep":
				o.Time = 300 * time.Millisecond
			}
			got := &sunk{}
			err := newConverter(t, o).Convert(t.Context(), "vhdx", bytes.NewReader(image), size, size, got)
			if test.reason == "" {
				if err != nil || !bytes.Equal(got.data.Bytes(), test.want) {
					t.Errorf("%v, %d bytes", err, got.data.Len())
				}
				return
			}
			if fault.ReasonOf(err) != test.reason || strings.Contains(fault.Public(err), "secret") {
				t.Errorf("got %v [%s]", err, fault.ReasonOf(err))
			}
			if got.size > size {
				t.Errorf("%d bytes of %d", got.size, size)
			}
		})
	}
}

// What qemu-img says goes to the log, shortened.
func TestLog(t *testing.T) {
	t.Parallel()
	var text bytes.Buffer
	c, err := New(Options{Program: fake(t, "fail"), Log: hclog.New(&hclog.LoggerOptions{Output: &text})})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Convert(t.Context(), "vdi", strings.NewReader("x"), 1, 512, &sunk{}); fault.ReasonOf(err) != convert.ReasonDamaged {
		t.Errorf("got %v", err)
	}
	if !strings.Contains(text.String(), "fake: /secret/path: Invalid argument") || strings.Count(text.String(), "sandbox is ready") != 1 {
		t.Errorf("log %s", text.String())
	}
}

// Without qemu-img, an error says what it is for.
func TestNoConverter(t *testing.T) {
	t.Parallel()
	if err := newConverter(t, Options{Program: fake(t, "copy")}).Check(); err != nil {
		t.Error(err)
	}
	c := newConverter(t, Options{Program: filepath.Join(t.TempDir(), "qemu-img")})
	for _, err := range []error{c.Check(), c.Convert(t.Context(), "vdi", strings.NewReader("x"), 1, 512, &sunk{})} {
		if fault.ReasonOf(err) != convert.ReasonNoConverter || fault.ClassOf(err) != fault.Precondition {
			t.Errorf("got %v", err)
		}
		if text := fault.Public(err); !strings.Contains(text, "vdi, vhd, vhdx, vmdk") || strings.Contains(text, os.TempDir()) {
			t.Errorf("it says %q", text)
		}
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	for _, o := range []Options{{Memory: 1}, {Memory: -1}, {CPU: -1}, {Time: -1}, {Most: -1}} {
		if _, err := New(o); !fault.Is(err, fault.Invalid) {
			t.Errorf("%+v: %v", o, err)
		}
	}
	if cpu, wall := (Options{}).times(60 << 30); cpu != 20*time.Minute || wall != 40*time.Minute {
		t.Errorf("a disk of 60 GiB has %v and %v", cpu, wall)
	}
	if err := newConverter(t, Options{}).Convert(t.Context(), "parallels", nil, 0, 0, nil); err == nil {
		t.Error("it reads what nobody has inspected")
	}
}

// slow is a sink that takes nothing until the import ends.
type slow struct {
	ctx    context.Context
	called chan struct{}
}

func (s *slow) Write([]byte) (int, error) {
	close(s.called)
	<-s.ctx.Done()
	return 0, context.Cause(s.ctx)
}

func (s *slow) Zero(int64) error { return nil }

// A conversion ends with the import, also while its sink waits for room, and so does one that waits for its turn.
func TestCancel(t *testing.T) {
	t.Parallel()
	c := newConverter(t, Options{Program: fake(t, "copy"), Most: 1})
	stopped := errors.New("stopped")
	ctx, cancel := context.WithCancelCause(t.Context())
	sink := &slow{ctx, make(chan struct{})}
	done := make(chan error, 1)
	image := make([]byte, 4096)
	go func() { done <- c.Convert(ctx, "vhdx", bytes.NewReader(image), 4096, 4096, sink) }()
	select {
	case <-sink.called:
	case err := <-done:
		t.Fatalf("the first has ended: %v", err)
	}
	second, cancelSecond := context.WithCancelCause(t.Context())
	cancelSecond(io.ErrClosedPipe)
	if err := c.Convert(second, "vhdx", bytes.NewReader(image), 4096, 4096, &sunk{}); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("the second: %v", err)
	}
	cancel(stopped)
	if err := <-done; !errors.Is(err, stopped) {
		t.Errorf("got %v", err)
	}
	if err := c.Convert(t.Context(), "vhdx", bytes.NewReader(image), 4096, 4096, &sunk{}); err != nil {
		t.Errorf("the next: %v", err)
	}
}

// lost is an image that cannot be read any more.
type lost struct{ err error }

func (l lost) ReadAt([]byte, int64) (int, error) { return 0, l.err }

// The errors of image and disk come back as they are.
func TestErrors(t *testing.T) {
	t.Parallel()
	c := newConverter(t, Options{Program: fake(t, "copy")})
	gone := fault.New(fault.Unavailable, "GONE", "gone")
	for _, format := range []string{"vhdx", "vmdk"} {
		if err := c.Convert(t.Context(), format, lost{gone}, 4096, 4096, &sunk{}); err != error(gone) { //nolint:errorlint // the same
			t.Errorf("%s: %v", format, err)
		}
	}
	if err := c.Convert(t.Context(), "vhdx", bytes.NewReader(make([]byte, 4096)), 4096, 4096, &sunk{most: 1}); err != errFull { //nolint:errorlint // the same
		t.Errorf("got %v", err)
	}
	if err := c.Convert(t.Context(), "vhdx", bytes.NewReader(make([]byte, 100)), 4096, 4096, &sunk{}); fault.ReasonOf(err) != convert.ReasonDamaged {
		t.Errorf("an image that is shorter than it should be: %v", err)
	}
}

// The time that the hub takes does not count.
func TestPatience(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		out := make(chan time.Duration, 1)
		p := begin(time.Minute, func() { out <- time.Since(start) })
		defer p.end()
		wait := func(d time.Duration) { <-time.After(d) }
		wait(20 * time.Second)
		p.enter()
		wait(time.Hour)
		p.enter()
		wait(time.Hour)
		p.leave()
		wait(time.Hour)
		p.leave()
		if at := <-out; at != 3*time.Hour+time.Minute {
			t.Errorf("it ran out after %v", at)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		p := begin(time.Minute, func() { t.Error("it ran out") })
		p.enter()
		p.end()
		p.leave()
		<-time.After(time.Hour)
	})
}

// A disk takes what comes in order, with its gaps, and its mark, whatever its size.
func TestDisk(t *testing.T) {
	t.Parallel()
	got := &sunk{}
	d := &disk{sink: got, size: 1000} // 24 bytes of the last sector are not part of it
	data := bytes.Repeat([]byte("x"), 512)
	var w nbd.Writer = d
	for _, step := range []struct {
		at   int64
		data []byte // nil: 100 zeroes
		ok   bool
	}{
		{0, data[:10], true},
		{9, data[:1], false},
		{20, nil, true},
		{119, data[:1], false},
		{1024, data, false},
		{1000, data[:25], false},
		{950, nil, false},
		{512, data, true},
		{1024, mark[:511], false},
		{1025, mark, false},
		{1024, mark, true},
		{1024, mark, false},
	} {
		var err error
		if step.data == nil {
			err = w.ZeroAt(100, step.at)
		} else {
			_, err = w.WriteAt(step.data, step.at)
		}
		if (err == nil) != step.ok {
			t.Errorf("%d bytes at %d: %v", len(step.data), step.at, err)
		}
	}
	want := append(append(bytes.Clone(data[:10]), make([]byte, 502)...), data[:488]...)
	if !d.whole() || !bytes.Equal(got.data.Bytes(), want) {
		t.Errorf("%d bytes, whole: %t", got.data.Len(), d.whole())
	}
}
