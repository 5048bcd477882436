//go:build !cgo

package cephrbd

import (
	"context"

	"github.com/atoll-dcn/atoll/agent/internal/rbd"
	"github.com/atoll-dcn/atoll/pkg/fault"
)

// Available says whether this build can use Ceph.
const Available = false

// Open fails: this build has no Ceph.
func Open(_ context.Context, config Config) (rbd.Pool, error) {
	if _, err := config.withDefaults(); err != nil {
		return nil, err
	}
	return nil, fault.New(fault.Precondition, "CEPH_NOT_BUILT",
		"this agent was built without Ceph; use a build with cgo and librbd, or a store of type file")
}
