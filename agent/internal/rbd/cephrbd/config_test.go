package cephrbd

import (
	"testing"
	"time"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

func TestConfig(t *testing.T) {
	good := Config{ConfFile: "/c", User: "atoll", Pool: "images"}
	c, err := good.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	if c.Features != 61 || c.ObjectOrder != 22 || c.Calls != 16 || c.MountTimeout != 15*time.Second ||
		c.MonTimeout != 30*time.Second || c.OSDTimeout != 30*time.Second || c.CloseTimeout != 5*time.Second || c.Log == nil || c.Now == nil {
		t.Errorf("defaults are %+v", c)
	}
	for field, change := range map[string]func(*Config){
		"conf":         func(c *Config) { c.ConfFile = "" },
		"user":         func(c *Config) { c.User = "client.atoll" },
		"pool":         func(c *Config) { c.Pool = "" },
		"calls":        func(c *Config) { c.Calls = -1 },
		"object_order": func(c *Config) { c.ObjectOrder = 27 },
		"features":     func(c *Config) { c.Features = Layering | FastDiff },
	} {
		bad := good
		change(&bad)
		_, err := bad.withDefaults()
		if e, ok := fault.As(err); !ok || e.Class != fault.Invalid || e.Fields[0].Name != field {
			t.Errorf("%s: %v", field, err)
		}
		if _, err := Open(t.Context(), bad); !fault.Is(err, fault.Invalid) {
			t.Errorf("open with a bad %s: %v", field, err)
		}
	}
	short := good
	short.OSDTimeout = time.Millisecond
	if c, err := short.withDefaults(); err != nil || c.OSDTimeout != time.Second || c.CloseTimeout != time.Second {
		t.Errorf("a timeout of 1 ms became %v, of closing %v (%v)", c.OSDTimeout, c.CloseTimeout, err)
	}
}

func TestParseFeatures(t *testing.T) {
	for _, c := range []struct {
		names []string
		want  uint64
		field string
	}{
		{nil, 61, ""},
		{[]string{"layering"}, 1, ""},
		{[]string{"layering", "exclusive-lock", "object-map", "fast-diff", "deep-flatten"}, 61, ""},
		{[]string{"layering", "journaling"}, 0, "features[1]"},
		{[]string{"exclusive-lock"}, 0, "features"},
		{[]string{"layering", "object-map"}, 0, "features"},
	} {
		got, err := ParseFeatures("features", c.names)
		if c.field == "" {
			if err != nil || got != c.want {
				t.Errorf("%q: %d, %v", c.names, got, err)
			}
			continue
		}
		if e, ok := fault.As(err); !ok || e.Fields[0].Name != c.field {
			t.Errorf("%q: %v", c.names, err)
		}
	}
}

// TestOpenNeedsNoCluster: with Ceph, opening does no I/O; without, it says so.
func TestOpenNeedsNoCluster(t *testing.T) {
	pool, err := Open(t.Context(), Config{ConfFile: "/nonexistent/ceph.conf", User: "atoll", Pool: "images"})
	if !Available {
		if fault.ReasonOf(err) != "CEPH_NOT_BUILT" {
			t.Errorf("got %v", err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if pool.Driver() != "ceph" {
		t.Errorf("driver is %q", pool.Driver())
	}
	for range 2 {
		if err := pool.Close(); err != nil {
			t.Error(err)
		}
	}
}
