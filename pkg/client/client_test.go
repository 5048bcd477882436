package client_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/atoll-dcn/atoll/pkg/client"
	"github.com/atoll-dcn/atoll/pkg/client/clienttest"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/retry"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const id = "2bd882e7-1da0-4078-97fe-f1bb81f61b00"

// start returns a fake hub with one queued image and a client of it that waits only milliseconds.
func start(t *testing.T, o client.Options) (*clienttest.Hub, *client.Client) {
	t.Helper()
	h := clienttest.Start(t)
	h.Images[id] = &hubv1.Image{Id: id, Name: "debian", Status: hubv1.ImageStatus_IMAGE_STATUS_QUEUED}
	o.Retry = retry.Policy{Initial: 5 * time.Millisecond, Max: 50 * time.Millisecond}
	c, err := client.New(h.Addr, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return h, c
}

func TestPagesAreFollowed(t *testing.T) {
	h, c := start(t, client.Options{})
	for i := range 5 {
		n := fmt.Sprintf("00000000-0000-4000-8000-%012d", i)
		h.Images[n] = &hubv1.Image{Id: n, Name: "many"}
	}
	var got []string
	for img, err := range c.AllImages(t.Context(), &hubv1.ListImagesRequest{Name: "many"}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, img.GetId()[35:])
	}
	if s := strings.Join(got, ""); s != "01234" {
		t.Errorf("images %s", s)
	}
	h.Fail("ListStores", nil)
	h.Fail("ListStores", fault.New(fault.Internal, "BROKEN", "secret"))
	n := 0
	var last error
	for _, err := range c.AllStores(t.Context()) {
		n, last = n+1, err
	}
	if n != 3 || !fault.Is(last, fault.Internal) || strings.Contains(last.Error(), "secret") {
		t.Errorf("after %d items: %v; want two stores and then an error without its text", n, last)
	}
	for _, err := range c.AllStores(t.Context()) {
		if err != nil {
			t.Error(err)
		}
		break
	}
}

func TestFindImage(t *testing.T) {
	h, c := start(t, client.Options{})
	other := string(image.NewID())
	h.Images[other] = &hubv1.Image{Id: other, Name: "twice"}
	third := string(image.NewID())
	h.Images[third] = &hubv1.Image{Id: third, Name: "hidden", Hidden: true}
	fourth := string(image.NewID())
	h.Images[fourth] = &hubv1.Image{Id: fourth, Name: "twice"}
	for _, tt := range []struct {
		name, want string
		class      fault.Class
		text       string
	}{
		{name: id, want: id},
		{name: strings.ToUpper(id), want: id},
		{name: "debian", want: id},
		{name: "", class: fault.Invalid, text: "empty"},
		{name: "hidden", want: third},
		{name: "nope", class: fault.NotFound, text: `"nope"`},
		{name: "00000000-0000-4000-8000-000000000000", class: fault.NotFound, text: "00000000"},
		{name: "twice", class: fault.Invalid, text: other},
	} {
		img, err := c.FindImage(t.Context(), tt.name)
		if tt.want != "" && (err != nil || img.GetId() != tt.want) {
			t.Errorf("%q: %v, %v", tt.name, img, err)
		}
		if tt.want == "" && (!fault.Is(err, tt.class) || !strings.Contains(err.Error(), tt.text)) {
			t.Errorf("%q: %v; want %v with %q", tt.name, err, tt.class, tt.text)
		}
	}
}

func TestCentralStore(t *testing.T) {
	h, c := start(t, client.Options{})
	s, err := c.CentralStore(t.Context())
	if err != nil || s.GetId() != "central" {
		t.Errorf("%v, %v", s, err)
	}
	h.Change(func() { delete(h.Stores, "central") })
	if _, err := c.CentralStore(t.Context()); fault.ReasonOf(err) != "NO_CENTRAL_STORE" {
		t.Errorf("without a central store: %v", err)
	}
}

func TestUploadAndDownload(t *testing.T) {
	h, c := start(t, client.Options{})
	data := bytes.Repeat([]byte("atoll"), 700_000) // three and a bit messages
	header := &hubv1.UploadHeader{Id: id, SizeBytes: int64(len(data)), Target: &hubv1.StoreSelection{Stores: []string{"central"}}}
	var sent []int64
	op, err := c.Upload(t.Context(), header, bytes.NewReader(data), func(n int64) { sent = append(sent, n) })
	if err != nil {
		t.Fatal(err)
	}
	if len(sent) != 4 || sent[0] != 1<<20 || sent[3] != int64(len(data)) {
		t.Errorf("progress %v", sent)
	}
	if op, err = c.FollowOperation(t.Context(), op.GetId(), client.Follower{}); err != nil || op.GetState() != hubv1.OperationState_OPERATION_STATE_SUCCEEDED {
		t.Fatalf("%v, %v", op, err)
	}
	h.SetData(id, data)
	var got bytes.Buffer
	var total int64
	n, err := c.Download(t.Context(), id, &got, func(_, t int64) { total = t })
	if err != nil || n != int64(len(data)) || total != n || !bytes.Equal(got.Bytes(), data) {
		t.Errorf("downloaded %d of %d bytes: %v", n, total, err)
	}
	h.Change(func() { h.Data[id] = data[:len(data)-1] })
	if _, err := c.Download(t.Context(), id, io.Discard, nil); fault.ReasonOf(err) != "SHORT_DOWNLOAD" {
		t.Errorf("short download: %v", err)
	}
	full := errors.New("disk full")
	if _, err := c.Download(t.Context(), id, failingWriter{full}, nil); !errors.Is(err, full) {
		t.Errorf("failing writer: %v", err)
	}
}

func TestStage(t *testing.T) {
	h, c := start(t, client.Options{})
	bad := errors.New("bad sector")
	if _, err := c.Stage(t.Context(), &hubv1.StageHeader{Id: id}, failingReader{bad}, nil); !errors.Is(err, bad) {
		t.Errorf("unreadable source: %v", err)
	}
	_, err := c.Stage(t.Context(), &hubv1.StageHeader{Id: id, SizeBytes: 99}, strings.NewReader("short"), nil)
	if fault.ReasonOf(err) != "SIZE_MISMATCH" {
		t.Errorf("wrong size: %v", err)
	}
	var last int64
	img, err := c.Stage(t.Context(), &hubv1.StageHeader{Id: id}, io.LimitReader(zeroes{}, 3<<20), func(n int64) { last = n })
	if err != nil || img.GetStatus() != hubv1.ImageStatus_IMAGE_STATUS_UPLOADING || last != 3<<20 || len(h.Data[id]) != 3<<20 {
		t.Errorf("staged %v, %d bytes: %v", img, last, err)
	}
	// The hub refuses while the client would send for ever.
	if _, err := c.Stage(t.Context(), &hubv1.StageHeader{Id: id}, zeroes{}, nil); fault.ReasonOf(err) != "NOT_QUEUED" {
		t.Errorf("refused: %v", err)
	}
}

type failingWriter struct{ err error }

func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }

type failingReader struct{ err error }

func (r failingReader) Read([]byte) (int, error) { return 0, r.err }

func TestUploadFailures(t *testing.T) {
	h, c := start(t, client.Options{})
	target := &hubv1.StoreSelection{Stores: []string{"central"}}
	bad := errors.New("bad sector")
	// More than the windows of the connection hold, so that the hub has seen the beginning.
	source := io.MultiReader(io.LimitReader(zeroes{}, 3<<20), failingReader{bad})
	_, err := c.Upload(t.Context(), &hubv1.UploadHeader{Id: id, Target: target}, source, nil)
	if !errors.Is(err, bad) || fault.ReasonOf(err) != "SOURCE_UNREADABLE" {
		t.Errorf("unreadable source: %v", err)
	}
	h.Await(t, "the abort", func() bool { return h.Aborted[id] })

	_, err = c.Upload(t.Context(), &hubv1.UploadHeader{Id: id, SizeBytes: 99, Target: target}, strings.NewReader("short"), nil)
	if fault.ReasonOf(err) != "SIZE_MISMATCH" {
		t.Errorf("wrong size: %v", err)
	}
	// The hub refuses while the client would send for ever: the refusal must end it.
	_, err = c.Upload(t.Context(), &hubv1.UploadHeader{Id: id, Target: &hubv1.StoreSelection{}}, zeroes{}, nil)
	if e, ok := fault.As(err); !ok || len(e.Fields) != 1 || e.Fields[0].Name != "target.stores" {
		t.Errorf("refused: %v", err)
	}
}

type zeroes struct{}

func (zeroes) Read(b []byte) (int, error) { return len(b), nil }

func TestUploadIsAbortedByItsContext(t *testing.T) {
	h, c := start(t, client.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	header := &hubv1.UploadHeader{Id: id, Target: &hubv1.StoreSelection{AllStores: true}}
	_, err := c.Upload(ctx, header, zeroes{}, func(sent int64) {
		if sent >= 3<<20 {
			cancel()
		}
	})
	if !fault.Is(err, fault.Cancelled) {
		t.Errorf("got %v", err)
	}
	h.Await(t, "the abort", func() bool {
		return h.Aborted[id] && h.Images[id].GetStatus() == hubv1.ImageStatus_IMAGE_STATUS_QUEUED
	})
}

// begin starts a copy with the script.
func begin(t *testing.T, h *clienttest.Hub, c *client.Client, steps ...clienttest.Step) string {
	t.Helper()
	h.Script(steps...)
	res, err := c.Replicas.ReplicateImage(t.Context(), &hubv1.ReplicateImageRequest{
		ImageId: id, Target: &hubv1.StoreSelection{Stores: []string{"dcn0"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return res.GetOperation().GetId()
}

func TestFollowSurvivesABrokenHub(t *testing.T) {
	h, c := start(t, client.Options{})
	gate := make(chan struct{})
	op := begin(t, h, c, clienttest.Step{Gate: gate, Do: clienttest.Succeed})
	var lost, updates int
	reasons := map[string]bool{}
	end, err := c.FollowOperation(t.Context(), op, client.Follower{
		Update: func(*hubv1.Operation) {
			if updates++; updates == 1 {
				h.Down(true)
			}
		},
		Lost: func(err error) {
			reasons[fault.ReasonOf(err)] = true
			if lost++; lost == 2 {
				h.Down(false)
				h.Fail("WatchOperation", fault.New(fault.Conflict, "TOO_SLOW", "too slow"))
				close(gate)
			}
		},
	})
	if err != nil || end.GetState() != hubv1.OperationState_OPERATION_STATE_SUCCEEDED {
		t.Fatalf("%v, %v", end, err)
	}
	if updates < 2 || !reasons["UNREACHABLE"] || !reasons["TOO_SLOW"] {
		t.Errorf("updated %d times, lost for %v", updates, reasons)
	}
}

func TestFollowGivesUp(t *testing.T) {
	h, c := start(t, client.Options{Patience: 30 * time.Millisecond})
	op := begin(t, h, c, clienttest.Step{Gate: make(chan struct{}), Do: clienttest.Succeed})
	h.Down(true)
	if _, err := c.FollowOperation(t.Context(), op, client.Follower{}); fault.ReasonOf(err) != "UNREACHABLE" {
		t.Errorf("unreachable: %v", err)
	}
	h.Down(false)
	h.Fail("WatchOperation", fault.New(fault.NotFound, "OPERATION_NOT_FOUND", "gone"))
	waiting, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	patient, err := client.New(h.Addr, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = patient.Close() }()
	if _, err := patient.FollowOperation(waiting, op, client.Follower{}); !fault.Is(err, fault.NotFound) {
		t.Errorf("unknown operation: %v", err)
	}
	ctx, stop := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer stop()
	if _, err := patient.FollowOperation(ctx, op, client.Follower{}); !fault.Is(err, fault.Timeout) {
		t.Errorf("time is up: %v", err)
	}
	cancelled, stop := context.WithCancel(t.Context())
	_, err = patient.FollowOperation(cancelled, op, client.Follower{Update: func(*hubv1.Operation) { stop() }})
	if !fault.Is(err, fault.Cancelled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestPlainCallsEnd(t *testing.T) {
	h, c := start(t, client.Options{CallTimeout: 30 * time.Millisecond})
	h.Hold("GetImage", make(chan struct{}))
	if _, err := c.FindImage(t.Context(), id); !fault.Is(err, fault.Timeout) {
		t.Errorf("got %v", err)
	}
}

func TestBadAddress(t *testing.T) {
	if c, err := client.New("bad\x00address:1", client.Options{}); err == nil {
		_ = c.Close()
		t.Error("accepted")
	} else if !fault.Is(err, fault.Invalid) {
		t.Errorf("got %v", err)
	}
}
