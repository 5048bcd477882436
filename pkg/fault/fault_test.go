package fault

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
)

var allClasses = []Class{
	Internal, Invalid, NotFound, Exists, Precondition, Conflict, Denied, Unauthenticated,
	Exhausted, Unavailable, Timeout, Cancelled, Corrupt,
}

func TestClassNames(t *testing.T) {
	if len(allClasses) != len(classNames) {
		t.Fatalf("%d classes, %d names", len(allClasses), len(classNames))
	}
	seen := map[string]Class{}
	for i, c := range allClasses {
		if int(c) != i {
			t.Errorf("class %v has number %d, want %d", c, int(c), i)
		}
		if other, ok := seen[c.String()]; ok {
			t.Errorf("classes %d and %d share the name %q", other, c, c)
		}
		seen[c.String()] = c
	}
	for _, c := range []Class{-1, Class(len(allClasses))} {
		if got, want := c.String(), fmt.Sprintf("class(%d)", int(c)); got != want {
			t.Errorf("unknown class prints %q, want %q", got, want)
		}
	}
}

func TestClassification(t *testing.T) {
	inner := New(Conflict, "LOST_RACE", "somebody else was faster")
	tests := map[string]struct {
		err       error
		class     Class
		reason    string
		public    string
		retryable bool
	}{
		"plain error": {
			err: io.ErrUnexpectedEOF, class: Internal, reason: "INTERNAL",
			public: "internal error; see the log for details",
		},
		"internal hides its text": {
			err: New(Internal, "BROKEN", "the secret is 42"), class: Internal, reason: "BROKEN",
			public: "internal error; see the log for details",
		},
		"wrapped with %w": {
			err: fmt.Errorf("reading: %w", inner), class: Conflict, reason: "LOST_RACE",
			public: "somebody else was faster", retryable: true,
		},
		"outermost wins": {
			err: Wrap(inner, Denied, "NO_ACCESS", "you may not"), class: Denied, reason: "NO_ACCESS", public: "you may not",
		},
		"joined": {
			err: errors.Join(io.EOF, inner), class: Conflict, reason: "LOST_RACE",
			public: "somebody else was faster", retryable: true,
		},
		"cancelled context": {
			err: fmt.Errorf("waiting: %w", context.Canceled), class: Cancelled, reason: "CANCELLED",
			public: "the request was cancelled",
		},
		"deadline": {
			err: context.DeadlineExceeded, class: Timeout, reason: "TIMEOUT",
			public: "the request took too long", retryable: true,
		},
		"class beats the context error it wraps": {
			err: Wrap(context.DeadlineExceeded, Unavailable, "STORE_UNREACHABLE", "no answer"), class: Unavailable,
			reason: "STORE_UNREACHABLE", public: "no answer", retryable: true,
		},
		"no reason": {err: New(NotFound, "", "no such thing"), class: NotFound, reason: "INTERNAL", public: "no such thing"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := ClassOf(tt.err); got != tt.class {
				t.Errorf("ClassOf = %v, want %v", got, tt.class)
			}
			if got := ReasonOf(tt.err); got != tt.reason {
				t.Errorf("ReasonOf = %q, want %q", got, tt.reason)
			}
			if got := Public(tt.err); got != tt.public {
				t.Errorf("Public = %q, want %q", got, tt.public)
			}
			if got := Retryable(tt.err); got != tt.retryable {
				t.Errorf("Retryable = %v, want %v", got, tt.retryable)
			}
			for _, c := range allClasses {
				if got := Is(tt.err, c); got != (c == tt.class) {
					t.Errorf("Is(%v) = %v", c, got)
				}
			}
		})
	}
}

func TestNilIsOfNoClass(t *testing.T) {
	for _, c := range allClasses {
		if Is(nil, c) {
			t.Errorf("nil is of class %v", c)
		}
	}
	if Retryable(nil) {
		t.Error("nil is retryable")
	}
	if _, ok := As(nil); ok {
		t.Error("nil holds an *Error")
	}
}

func TestRetryableByClass(t *testing.T) {
	want := map[Class]bool{Unavailable: true, Timeout: true, Conflict: true, Corrupt: true}
	for _, c := range allClasses {
		if got := Retryable(New(c, "X", "x")); got != want[c] {
			t.Errorf("%v: retryable %v, want %v", c, got, want[c])
		}
	}
}

func TestCauseIsLoggedAndNotShown(t *testing.T) {
	err := Wrap(io.ErrClosedPipe, Unavailable, "STORE_UNREACHABLE", "store %q does not answer", "dcn0")
	if got, want := err.Error(), `store "dcn0" does not answer: io: read/write on closed pipe`; got != want {
		t.Errorf("Error() = %q, want %q", got, want)
	}
	if got, want := Public(err), `store "dcn0" does not answer`; got != want {
		t.Errorf("Public = %q, want %q", got, want)
	}
	if !errors.Is(err, io.ErrClosedPipe) {
		t.Error("the cause is lost")
	}
}

func TestBadField(t *testing.T) {
	err := BadField("target.stores[1]", "there is no store %q", "nowhere")
	if err.Class != Invalid || err.Reason != "INVALID_FIELD" {
		t.Errorf("class %v, reason %q", err.Class, err.Reason)
	}
	if want := `target.stores[1]: there is no store "nowhere"`; err.Error() != want || Public(err) != want {
		t.Errorf("text %q, public %q, want %q", err.Error(), Public(err), want)
	}
	if len(err.Fields) != 1 || err.Fields[0] != (Field{Name: "target.stores[1]", Problem: `there is no store "nowhere"`}) {
		t.Errorf("fields %+v", err.Fields)
	}
}
