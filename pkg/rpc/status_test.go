package rpc

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

var update = flag.Bool("update", false, "rewrite testdata/classes.golden")

// TestClassesGolden pins what each class looks like on the wire.
func TestClassesGolden(t *testing.T) {
	var b strings.Builder
	for class := fault.Internal; class <= fault.Corrupt; class++ {
		s, _ := status.FromError(ToStatus(fault.Wrap(errors.New("secret"), class, "SOME_REASON", "the message")))
		info, ok := s.Details()[0].(*errdetails.ErrorInfo)
		if !ok {
			t.Fatalf("%v: first detail is %T", class, s.Details()[0])
		}
		fmt.Fprintf(&b, "%-16s %2d %-18s %s/%s %q\n", class, Code(class), s.Code(), info.GetDomain(), info.GetReason(), s.Message())
	}
	const golden = "testdata/classes.golden"
	if *update {
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("classes differ from %s:\n%s", golden, b.String())
	}
	if strings.Contains(b.String(), "secret") {
		t.Error("a cause is on the wire")
	}
}

func TestRoundTrip(t *testing.T) {
	for class := fault.Invalid; class <= fault.Corrupt; class++ {
		in := fault.New(class, "SOME_REASON", "the message")
		in.Fields = []fault.Field{{Name: "a[1].b", Problem: "is bad"}}
		out, ok := fault.As(FromStatus(ToStatus(fmt.Errorf("context: %w", in))))
		if !ok || out.Class != in.Class || out.Reason != in.Reason || out.Message != in.Message {
			t.Errorf("%v: got %+v", class, out)
			continue
		}
		if len(out.Fields) != 1 || out.Fields[0] != in.Fields[0] {
			t.Errorf("%v: fields %v", class, out.Fields)
		}
	}
}

func TestToStatusOfOtherErrors(t *testing.T) {
	for _, c := range []struct {
		name string
		err  error
		code codes.Code
		text string
	}{
		{"nil", nil, codes.OK, ""},
		{"plain", errors.New("open /etc/secret"), codes.Internal, "internal error; see the log for details"},
		{"cancelled", fmt.Errorf("x: %w", context.Canceled), codes.Canceled, "the request was cancelled"},
		{"timeout", context.DeadlineExceeded, codes.DeadlineExceeded, "the request took too long"},
		{"broken stream", status.Error(codes.Canceled, "context canceled"), codes.Canceled, "the call was cancelled"},
		{"too large", status.Error(codes.ResourceExhausted, "grpc: received message larger than max"), codes.ResourceExhausted, "a message is larger than the limit"},
	} {
		s, _ := status.FromError(ToStatus(c.err))
		if s.Code() != c.code || s.Message() != c.text {
			t.Errorf("%s: got %v %q, want %v %q", c.name, s.Code(), s.Message(), c.code, c.text)
		}
	}
}

func TestFromStatusOfLocalErrors(t *testing.T) {
	for _, c := range []struct {
		code   codes.Code
		class  fault.Class
		reason string
	}{
		{codes.Unavailable, fault.Unavailable, "UNREACHABLE"},
		{codes.Unimplemented, fault.Precondition, "UNIMPLEMENTED"},
		{codes.ResourceExhausted, fault.Exhausted, "MESSAGE_TOO_LARGE"},
		{codes.Canceled, fault.Cancelled, "CANCELLED"},
		{codes.DeadlineExceeded, fault.Timeout, "TIMEOUT"},
		{codes.Unknown, fault.Internal, "INTERNAL"},
	} {
		err := FromStatus(status.Error(c.code, "grpc says"))
		if !fault.Is(err, c.class) || fault.ReasonOf(err) != c.reason || !strings.Contains(err.Error(), "grpc says") {
			t.Errorf("%v: got class %v, reason %s, text %q", c.code, fault.ClassOf(err), fault.ReasonOf(err), err)
		}
	}
	if !errors.Is(FromStatus(status.Error(codes.Canceled, "x")), context.Canceled) {
		t.Error("a cancelled call is not context.Canceled")
	}
	if !errors.Is(FromStatus(io.EOF), io.EOF) || FromStatus(nil) != nil {
		t.Error("nil or io.EOF changed")
	}
}

func TestToStatusIsBounded(t *testing.T) {
	e := fault.New(fault.Invalid, "R", "%s", strings.Repeat("é", 100_000))
	for range 1000 {
		e.Fields = append(e.Fields, fault.Field{Name: strings.Repeat("n", 1000), Problem: strings.Repeat("p", 1000)})
	}
	s, _ := status.FromError(ToStatus(e))
	if len(s.Message()) > mostMessage+3 || len(s.Details()) != 2 {
		t.Errorf("message of %d bytes, %d details", len(s.Message()), len(s.Details()))
	}
	bad, _ := s.Details()[1].(*errdetails.BadRequest)
	if n := len(bad.GetFieldViolations()); n != mostFields {
		t.Errorf("%d fields", n)
	}
}

func TestClassOfCode(t *testing.T) {
	for class := fault.Internal; class <= fault.Corrupt; class++ {
		if got := Class(Code(class)); got != class {
			t.Errorf("%v became %v", class, got)
		}
	}
}
