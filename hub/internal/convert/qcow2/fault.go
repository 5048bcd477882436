package qcow2

import (
	"github.com/atoll-dcn/atoll/hub/internal/convert"
	"github.com/atoll-dcn/atoll/pkg/fault"
)

// damaged says that the data contradicts itself.
func damaged(format string, args ...any) error {
	return fault.New(fault.Invalid, convert.ReasonDamaged, "the qcow2 image is damaged: "+format, args...)
}

// unsafe says that the data asks for what no import may have.
func unsafe(format string, args ...any) error {
	return fault.New(fault.Invalid, convert.ReasonUnsafe, "the qcow2 image is not safe to use: "+format, args...)
}
