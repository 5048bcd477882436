package lab

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/atoll-dcn/atoll/pkg/client"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

// Data returns size bytes in which dataMiB MiB, in whole chunks of 4 MiB that are spread evenly, are random and the rest
// is zero; and their SHA-256.
func Data(size int64, dataMiB int) (data []byte, sum string) {
	data = make([]byte, size)
	const stretch = 4 << 20
	places, filled := int(size/stretch), dataMiB/4
	r := rand.NewChaCha8([32]byte{byte(size), byte(dataMiB)})
	for i := range filled {
		at := i * places / filled * stretch
		_, _ = r.Read(data[at : at+stretch]) // never fails
	}
	h := sha256.Sum256(data)
	return data, hex.EncodeToString(h[:])
}

// Select is the short form of a store selection.
func Select(stores ...string) *hubv1.StoreSelection { return &hubv1.StoreSelection{Stores: stores} }

// Create creates a queued image.
func (l *Lab) Create(name string) string {
	l.T.Helper()
	resp, err := l.Client.Images.CreateImage(l.T.Context(), &hubv1.CreateImageRequest{Image: &hubv1.Image{Name: name}})
	if err != nil {
		l.T.Fatal(err)
	}
	return resp.Image.Id
}

// Upload imports data into stores and returns the image and the operation, which may still be running.
func (l *Lab) Upload(data []byte, target *hubv1.StoreSelection) (string, *hubv1.Operation) {
	l.T.Helper()
	id := l.Create(l.T.Name())
	op, err := l.Client.Upload(l.T.Context(), &hubv1.UploadHeader{Id: id, SizeBytes: int64(len(data)), Target: target}, bytes.NewReader(data), nil)
	if err != nil {
		l.T.Fatal(err)
	}
	return id, op
}

// Import is Upload that waits until the operation has succeeded.
func (l *Lab) Import(data []byte, stores ...string) string {
	l.T.Helper()
	id, op := l.Upload(data, Select(stores...))
	l.Succeeds(op)
	return id
}

// Copy starts a copy.
func (l *Lab) Copy(id string, target *hubv1.StoreSelection) (*hubv1.Operation, error) {
	resp, err := l.Client.Replicas.ReplicateImage(l.T.Context(), &hubv1.ReplicateImageRequest{ImageId: id, Target: target})
	return resp.GetOperation(), err
}

// MustCopy is Copy for requests that have to be accepted.
func (l *Lab) MustCopy(id string, stores ...string) *hubv1.Operation {
	l.T.Helper()
	op, err := l.Copy(id, Select(stores...))
	if err != nil {
		l.T.Fatal(err)
	}
	return op
}

// Wait waits until an operation is done and returns it.
func (l *Lab) Wait(op *hubv1.Operation) *hubv1.Operation {
	l.T.Helper()
	ctx, cancel := context.WithTimeout(l.T.Context(), 5*time.Minute)
	defer cancel()
	done, err := l.Client.FollowOperation(ctx, op.Id, client.Follower{})
	if err != nil {
		l.T.Fatalf("operation %s: %v", op.Id, err)
	}
	return done
}

// Succeeds waits until an operation is done in all its stores.
func (l *Lab) Succeeds(op *hubv1.Operation) *hubv1.Operation {
	l.T.Helper()
	done := l.Wait(op)
	if done.State != hubv1.OperationState_OPERATION_STATE_SUCCEEDED {
		l.T.Fatalf("operation: %v", done)
	}
	for _, s := range done.Stores {
		if s.State != hubv1.OperationState_OPERATION_STATE_SUCCEEDED {
			l.T.Fatalf("store %s: %v", s.StoreId, s)
		}
	}
	return done
}

// Fails waits until an operation has failed for a reason.
func (l *Lab) Fails(op *hubv1.Operation, reason string) *hubv1.Operation {
	l.T.Helper()
	done := l.Wait(op)
	if done.State != hubv1.OperationState_OPERATION_STATE_FAILED || done.Error.GetReason() != reason {
		l.T.Fatalf("should have failed with %s: %v", reason, done)
	}
	return done
}

// Image returns an image.
func (l *Lab) Image(id string) *hubv1.Image {
	l.T.Helper()
	resp, err := l.Client.Images.GetImage(l.T.Context(), &hubv1.GetImageRequest{Id: id})
	if err != nil {
		l.T.Fatal(err)
	}
	return resp.Image
}

// Replica returns the copy of an image in a store; nil when there is none.
func (l *Lab) Replica(id, store string) *hubv1.Replica {
	resp, err := l.Client.Replicas.GetReplica(l.T.Context(), &hubv1.GetReplicaRequest{ImageId: id, StoreId: store})
	if err != nil {
		return nil
	}
	return resp.Replica
}

// WaitReplica waits until ok says yes to a replica.
func (l *Lab) WaitReplica(id, store, what string, ok func(*hubv1.Replica) bool) *hubv1.Replica {
	l.T.Helper()
	var r *hubv1.Replica
	Eventually(l.T, 2*time.Minute, store+": "+what, func() error {
		if r = l.Replica(id, store); !ok(r) {
			return fmt.Errorf("replica: %v", r)
		}
		return nil
	})
	return r
}

// Stores checks which stores hold an image: by the hub's word and by the pools' own.
func (l *Lab) Stores(id string, want ...string) {
	l.T.Helper()
	slices.Sort(want)
	if img := l.Image(id); !slices.Equal(img.Stores, want) {
		l.T.Fatalf("stores are %v, want %v", img.Stores, want)
	}
	for _, s := range Sites {
		if has := slices.Contains(l.Images(s), id); has != slices.Contains(want, s) {
			l.T.Fatalf("pool of %s: %v", s, l.Images(s))
		}
	}
}

// Eventually asks f again and again until it returns nil; it waits for other processes, which is the only use of sleeping
// in these tests. It asks once more when the time is over: until then everything may have stood still.
func Eventually(t *testing.T, within time.Duration, what string, f func() error) {
	t.Helper()
	deadline := time.Now().Add(within)
	for {
		late := time.Now().After(deadline)
		err := f()
		if err == nil {
			return
		}
		if late {
			t.Fatalf("%s: %v", what, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}
