package etcdstore

import (
	"context"
	"strings"
	"testing"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/pkg/fault"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

func TestCommitRefusesWhatIsNotARecord(t *testing.T) {
	s := open(t, config(t, "a"))
	site := &storev1.Site{Id: "a"}
	tests := []struct {
		name   string
		writes []catalog.Write
		reason string
	}{
		{"no kind", []catalog.Write{{Key: catalog.Key{ID: "a"}, Value: site}}, "INVALID_KEY"},
		{"unknown kind", []catalog.Write{{Key: catalog.Key{Kind: 99, ID: "a"}, Value: site}}, "INVALID_KEY"},
		{"no id", []catalog.Write{{Key: catalog.SiteKey(""), Value: site}}, "INVALID_KEY"},
		{"slash in the id", []catalog.Write{{Key: catalog.SiteKey("a/b"), Value: site}}, "INVALID_KEY"},
		{"replica without a store", []catalog.Write{{Key: catalog.ReplicaKey("i", ""), Value: &storev1.Replica{}}}, "INVALID_KEY"},
		{"another kind's message", []catalog.Write{{Key: catalog.ImageKey("a"), Value: site}}, "INVALID_RECORD"},
		{"not UTF-8", []catalog.Write{{Key: catalog.SiteKey("a"), Value: &storev1.Site{Description: "\xff"}}}, "INVALID_RECORD"},
		{"one record twice", []catalog.Write{{Key: catalog.SiteKey("a"), Value: site}, {Key: catalog.SiteKey("a")}}, "INVALID_COMMIT"},
		{"too large", []catalog.Write{{Key: catalog.SiteKey("a"), Value: &storev1.Site{Description: strings.Repeat("x", mostBytes)}}}, "RECORD_TOO_LARGE"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := s.Commit(t.Context(), tt.writes...); !fault.Is(err, fault.Invalid) || fault.ReasonOf(err) != tt.reason {
				t.Fatalf("got %v", err)
			}
		})
	}
	large := &storev1.Site{Id: "a", Description: strings.Repeat("x", mostBytes-1000)}
	commit(t, s, catalog.Write{Key: catalog.SiteKey("a"), Value: large})
	if n := metric(t, s, "atoll_catalog_commits_total", "invalid"); n != float64(len(tests)) {
		t.Errorf("%g commits counted as invalid", n)
	}
	if n := metric(t, s, "atoll_catalog_commits_total", "ok"); n != 1 {
		t.Errorf("%g commits counted as ok", n)
	}
	if n := metric(t, s, "atoll_catalog_records", "sites"); n != 1 {
		t.Errorf("%g sites counted", n)
	}
}

func TestCommitBoundaries(t *testing.T) {
	s := open(t, config(t, "a"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Commit(ctx, siteWrite(s, "a", "")); !fault.Is(err, fault.Cancelled) {
		t.Fatalf("with a context that has ended: %v", err)
	}
	if site, _ := s.Site("a"); site != nil {
		t.Fatal("a cancelled commit was applied")
	}
	commit(t, s, siteWrite(s, "a", "kept"))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Commit(t.Context(), siteWrite(s, "b", "")); !fault.Is(err, fault.Unavailable) {
		t.Fatalf("after Close: %v", err)
	}
	if site, _ := s.Site("a"); site.GetDescription() != "kept" {
		t.Fatal("the cache cannot be read after Close")
	}
}

func TestConfigIsChecked(t *testing.T) {
	good := Config{Endpoints: endpoints, HubID: "a"}
	for name, spoil := range map[string]func(*Config){
		"etcd-endpoints": func(c *Config) { c.Endpoints = nil },
		"etcd-prefix":    func(c *Config) { c.Prefix = "/x/" },
		"hub-id":         func(c *Config) { c.HubID = "" },
	} {
		c := good
		spoil(&c)
		_, err := Open(t.Context(), c)
		if e, ok := fault.As(err); !ok || e.Class != fault.Invalid || e.Fields[0].Name != name {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestKeys(t *testing.T) {
	k := keyspace("/atoll")
	for key, want := range map[catalog.Key]string{
		catalog.ImageKey("i"):        "/atoll/v1/images/i",
		catalog.ReplicaKey("i", "s"): "/atoll/v1/replicas/i/s",
		catalog.OperationKey("o"):    "/atoll/v1/operations/o",
		catalog.SiteKey("e"):         "/atoll/v1/sites/e",
		catalog.StoreKey("s"):        "/atoll/v1/stores/s",
	} {
		got, err := k.encode(key)
		if err != nil || got != want {
			t.Errorf("%v: got %q, %v, want %q", key, got, err, want)
		}
		if back, ok := k.decode(got); !ok || back != key {
			t.Errorf("%q: got %v, %t", got, back, ok)
		}
	}
	for _, s := range []string{"", "/atoll/v1/", "/atoll/v1/images", "/atoll/v1/images/a/b", "/atoll/v1/replicas/a", "/other/v1/images/a", "/atoll/leader/1"} {
		if got, ok := k.decode(s); ok {
			t.Errorf("%q is a record: %v", s, got)
		}
	}
}
