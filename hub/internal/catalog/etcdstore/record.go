package etcdstore

import (
	"cmp"
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/pkg/fault"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// record is one record of the cache. It never changes once it is shared.
type record struct {
	key     catalog.Key
	msg     proto.Message
	rev     int64
	created *timestamppb.Timestamp
}

// emptyMessage returns a new message of the type that records of the kind hold.
func emptyMessage(k catalog.Kind) proto.Message {
	switch k {
	case catalog.KindImage:
		return new(storev1.Image)
	case catalog.KindReplica:
		return new(storev1.Replica)
	case catalog.KindOperation:
		return new(storev1.Operation)
	case catalog.KindSite:
		return new(storev1.Site)
	case catalog.KindStore:
		return new(storev1.Store)
	case catalog.KindHub:
		return new(storev1.Hub)
	}
	return nil
}

// encodeValue returns the stored form of a record: the same bytes for equal messages.
func encodeValue(k catalog.Kind, m proto.Message) (string, error) {
	want := emptyMessage(k)
	if want == nil || m.ProtoReflect().Descriptor() != want.ProtoReflect().Descriptor() {
		return "", fault.New(fault.Invalid, "INVALID_RECORD", "the record is not of its kind's type")
	}
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return "", fault.Wrap(err, fault.Invalid, "INVALID_RECORD", "the record holds text that is not UTF-8")
	}
	return string(b), nil
}

// decodeRecord reads the stored form of a record.
func decodeRecord(k catalog.Key, rev int64, value []byte) (*record, error) {
	m := emptyMessage(k.Kind)
	if err := proto.Unmarshal(value, m); err != nil {
		return nil, fmt.Errorf("record at revision %d: %w", rev, err)
	}
	r := &record{key: k, msg: m, rev: rev}
	if c, ok := m.(interface{ GetCreateTime() *timestamppb.Timestamp }); ok {
		r.created = c.GetCreateTime()
	}
	return r, nil
}

// running returns the image of an operation that is not done.
func (r *record) running() (imageID string, ok bool) {
	op, ok := r.msg.(*storev1.Operation)
	if !ok {
		return "", false
	}
	switch op.State {
	case storev1.OperationState_OPERATION_STATE_UNSPECIFIED, storev1.OperationState_OPERATION_STATE_RUNNING:
	case storev1.OperationState_OPERATION_STATE_SUCCEEDED, storev1.OperationState_OPERATION_STATE_FAILED,
		storev1.OperationState_OPERATION_STATE_CANCELLED:
		return "", false
	}
	return op.ImageId, true
}

// order compares two records of one list.
type order func(a, b *record) int

func byID(a, b *record) int    { return cmp.Compare(a.key.ID, b.key.ID) }
func byImage(a, b *record) int { return cmp.Compare(a.key.Image, b.key.Image) }
func byStore(a, b *record) int { return cmp.Compare(a.key.Store, b.key.Store) }

// byAge puts the oldest record first; of the same age, ids ascend.
func byAge(a, b *record) int { return cmp.Or(compareAge(a, b), cmp.Compare(a.key.ID, b.key.ID)) }

// byAgeBackwards is the order of lists that are read from the end, newest first, so that a new record is appended, which is
// cheap. Read that way, ids of the same age ascend.
func byAgeBackwards(a, b *record) int {
	return cmp.Or(compareAge(a, b), cmp.Compare(b.key.ID, a.key.ID))
}

func compareAge(a, b *record) int {
	return cmp.Or(
		cmp.Compare(a.created.GetSeconds(), b.created.GetSeconds()),
		cmp.Compare(a.created.GetNanos(), b.created.GetNanos()),
	)
}
