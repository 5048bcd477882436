package ctl

import (
	"bytes"
	"context"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/atoll-dcn/atoll/pkg/client/clienttest"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

func TestMain(m *testing.M) {
	flag.Parse()
	goleak.VerifyTestMain(m)
}

const (
	debian = "2bd882e7-1da0-4078-97fe-f1bb81f61b00"
	alpine = "7f3c0c1e-58a1-4b7e-9d6d-0d6a0f3b9a11"
	second = "9e107d9d-372b-4b6e-8f0a-6a1b2c3d4e5f"
)

// buffer may be written and read by several goroutines.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// run is one run of the program against a fake hub.
type run struct {
	env      map[string]string // besides ATOLL_HUB
	out, err buffer
	stdin    io.Reader
	terminal bool // whether both outputs are terminals
	within   func(context.Context, time.Duration) (context.Context, context.CancelFunc)
}

// do runs the program and returns its exit code.
func (r *run) do(ctx context.Context, hub string, args ...string) int {
	if r.stdin == nil {
		r.stdin = strings.NewReader("")
	}
	return Run(ctx, args, Env{
		Stdin: r.stdin, Stdout: &r.out, Stderr: &r.err, Now: clienttest.Now,
		Getenv: func(name string) string {
			if name == "ATOLL_HUB" {
				return hub
			}
			return r.env[name]
		},
		Size:   func(any) (int, int, bool) { return 100, 24, r.terminal },
		within: r.within,
	})
}

// atollctl runs the program and fails the test unless it exits with code.
func atollctl(t *testing.T, h *clienttest.Hub, code int, args ...string) *run {
	t.Helper()
	r := &run{}
	r.want(t, h, code, args...)
	return r
}

func (r *run) want(t *testing.T, h *clienttest.Hub, code int, args ...string) {
	t.Helper()
	if got := r.do(t.Context(), h.Addr, args...); got != code {
		t.Fatalf("atollctl %s: exit code %d, want %d\nstdout: %s\nstderr: %s", strings.Join(args, " "), got, code, &r.out, &r.err)
	}
}

// has fails the test unless text holds all the words.
func has(t *testing.T, text string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("%q is missing in:\n%s", w, text)
		}
	}
}

// furnish fills a hub with records of every kind.
func furnish(t *testing.T) *clienttest.Hub {
	t.Helper()
	h := clienttest.Start(t)
	h.Change(func() { fill(h) })
	return h
}

func fill(h *clienttest.Hub) {
	h.Images[debian] = &hubv1.Image{
		Id: debian, Name: "debian-12", Status: hubv1.ImageStatus_IMAGE_STATUS_ACTIVE, Etag: "7",
		CreateTime: clienttest.Ago(26 * time.Hour), UpdateTime: clienttest.Ago(5 * time.Minute), SizeBytes: 4 << 30,
		DiskFormat: "raw", ContainerFormat: "bare", Checksum: strings.Repeat("0f", 16), OsHashAlgo: "sha512",
		OsHashValue: strings.Repeat("ab", 64), ManifestDigest: strings.Repeat("cd", 32), ContentId: second,
		Stores: []string{"central"}, ImportingToStores: []string{"dcn0"}, FailedImport: []string{"dcn1"},
		Locations:  []*hubv1.Location{{Url: "rbd://f-central/images/" + debian + "/snap", Store: "central"}},
		Properties: map[string]string{"os_distro": "debian", "hw_disk_bus": "virtio"},
		Owner:      "p-own", Visibility: hubv1.Visibility_VISIBILITY_SHARED, Tags: []string{"golden", "lts"}, MinDiskGb: 10,
	}
	h.Images[alpine] = &hubv1.Image{
		Id: alpine, Name: "evil\x1b[31mname\n", Status: hubv1.ImageStatus_IMAGE_STATUS_QUEUED, CreateTime: clienttest.Ago(40 * time.Second),
		DiskFormat: "raw", ContainerFormat: "bare", Protected: true,
	}
	h.Images[second] = &hubv1.Image{
		Id: second, Name: "wide", Status: hubv1.ImageStatus_IMAGE_STATUS_ACTIVE, CreateTime: clienttest.Ago(80 * time.Hour),
		SizeBytes: 1536, Stores: []string{"central", "dcn0", "dcn1", "dcn2", "dcn3"}, Deactivated: true,
		Visibility: hubv1.Visibility_VISIBILITY_PUBLIC, VirtualSizeBytes: 4 << 20, MinRamMb: 512,
	}
	h.Limits = &hubv1.HubLimits{
		BytesPerSecond: proto.Int64(100 << 20), LimitBytesPerSecond: proto.Int64(20 << 20), Windows: []string{"Mon-Fri 08:00-18:00 Europe/Berlin=20MiB/s"},
		LimitChangeTime: clienttest.Ago(-2 * time.Hour), Stored: true,
	}
	h.Replicas[debian+"/central"] = &hubv1.Replica{
		ImageId: debian, StoreId: "central", SiteId: "central", Phase: hubv1.ReplicaPhase_REPLICA_PHASE_ACTIVE,
		PhaseTime: clienttest.Ago(25 * time.Hour), CreateTime: clienttest.Ago(26 * time.Hour), VerifyTime: clienttest.Ago(25 * time.Hour),
		Location: "rbd://f-central/images/" + debian + "/snap",
		Progress: &hubv1.Progress{BytesDone: 4 << 30, BytesTotal: 4 << 30, BytesReceived: 1 << 30, ChunksRepaired: 2, BytesResumed: 300 << 20},
		Base:     &hubv1.Base{ImageId: second, Reason: hubv1.BaseReason_BASE_REASON_CONTENT, Percent: proto.Int32(87)},
	}
	h.Replicas[debian+"/dcn0"] = &hubv1.Replica{
		ImageId: debian, StoreId: "dcn0", SiteId: "dcn0", Phase: hubv1.ReplicaPhase_REPLICA_PHASE_TRANSFERRING,
		PhaseTime: clienttest.Ago(30 * time.Second), CreateTime: clienttest.Ago(time.Minute),
		Progress: &hubv1.Progress{BytesDone: 1 << 30, BytesTotal: 4 << 30, BytesPerSecond: 100 << 20, TimeLeft: durationpb.New(31 * time.Second)},
	}
	h.Replicas[debian+"/dcn1"] = &hubv1.Replica{
		ImageId: debian, StoreId: "dcn1", SiteId: "dcn1", Phase: hubv1.ReplicaPhase_REPLICA_PHASE_FAILED,
		Reason: "NO_SPACE", Message: "the pool is full", Attempts: 3, PhaseTime: clienttest.Ago(time.Hour),
	}
	h.Sites["dcn1"].Connected, h.Sites["dcn1"].Description = false, "Tower 1"
	h.Sites["dcn1"].LastRefusal, h.Sites["dcn1"].LastRefusalTime = "certificate revoked", clienttest.Ago(time.Minute)
	h.Stores["dcn1"].Healthy, h.Stores["dcn1"].Message, h.Stores["dcn1"].TotalBytes = false, "the agent is not connected", 0
	h.Operations["00000000-0000-4000-8000-000000000001"] = &hubv1.Operation{
		Id: "00000000-0000-4000-8000-000000000001", Kind: hubv1.OperationKind_OPERATION_KIND_IMPORT, ImageId: debian,
		State: hubv1.OperationState_OPERATION_STATE_RUNNING, CreateTime: clienttest.Ago(90 * time.Second),
		SourceBytesDone: 3 << 30, SourceBytesTotal: 4 << 30, Notes: []string{"dcn2 is offline"}, UserId: "alice", RequestId: "req-1",
		Stores: []*hubv1.StoreResult{
			{StoreId: "central", State: hubv1.OperationState_OPERATION_STATE_SUCCEEDED, Replica: h.Replicas[debian+"/central"]},
			{StoreId: "dcn0", State: hubv1.OperationState_OPERATION_STATE_RUNNING, Replica: h.Replicas[debian+"/dcn0"]},
			{
				StoreId: "dcn1", State: hubv1.OperationState_OPERATION_STATE_FAILED,
				Error: &hubv1.OperationError{Code: 8, Reason: "NO_SPACE", Message: "the pool is full"},
			},
		},
	}
	h.Operations["00000000-0000-4000-8000-000000000002"] = &hubv1.Operation{
		Id: "00000000-0000-4000-8000-000000000002", Kind: hubv1.OperationKind_OPERATION_KIND_DELETE_IMAGE, ImageId: alpine,
		State: hubv1.OperationState_OPERATION_STATE_FAILED, CreateTime: clienttest.Ago(time.Hour), EndTime: clienttest.Ago(time.Hour - 9*time.Second),
		Error: &hubv1.OperationError{Code: 9, Reason: "IN_USE", Message: "the copy in dcn0 is in use"},
	}
}

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares text with a file of testdata.
func golden(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if text != string(want) {
		t.Errorf("%s differs; got:\n%s\nwant:\n%s", name, text, want)
	}
}
