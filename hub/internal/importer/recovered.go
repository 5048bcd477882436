package importer

import (
	"fmt"
	"runtime/debug"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

// ReasonBroke is the reason of an import whose data has found a bug of the hub.
const ReasonBroke = "IMPORT_BROKE"

// recovered turns a panic into an error. Imports begin again after a restart, so data that ends the hub would end whoever takes
// the import over, one hub after the other.
func (f *flow) recovered(err *error) {
	p := recover()
	if p == nil {
		return
	}
	f.im.Log.Error("import broke", "operation", string(f.s.op), "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	*err = fault.New(fault.Internal, ReasonBroke, "the hub has a bug that this data has found; the log of the hub tells more")
}
