package catalog

import (
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"
)

// NextGeneration returns a generation above old that also lies above those of earlier replicas of the same name, whose
// late answers must not be taken for answers to this one: generations follow the clock, in milliseconds.
func NextGeneration(old uint64, now time.Time) uint64 {
	return max(old+1, uint64(max(now.UnixMilli(), 0)))
}

// Stamp is timestamppb.New.
func Stamp(t time.Time) *timestamppb.Timestamp { return timestamppb.New(t) }
