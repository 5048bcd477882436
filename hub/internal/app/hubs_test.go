package app

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/atoll-dcn/atoll/hub/internal/catalog/etcdstore"
	"github.com/atoll-dcn/atoll/hub/internal/catalog/etcdstore/embedded"
	"github.com/atoll-dcn/atoll/pkg/fault"
)

// All hubs of one etcd have one CA, or do not start.
func TestHubsHaveOneCA(t *testing.T) {
	server, err := embedded.Start(t.Context(), t.TempDir(), hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	records, err := etcdstore.Open(t.Context(), etcdstore.Config{Endpoints: server.Endpoints(), HubID: "a"})
	if err != nil {
		t.Fatal(errors.Join(err, server.Close()))
	}
	defer func() {
		if err := errors.Join(records.Close(), server.Close()); err != nil {
			t.Error(err)
		}
	}()
	open := func(c Config) (string, error) {
		c.EtcdEndpoints = server.Endpoints()
		ca, err := openCA(t.Context(), c, records)
		if err != nil {
			return "", err
		}
		return ca.Fingerprint(), nil
	}
	shared, own, other := t.TempDir(), t.TempDir(), t.TempDir()
	first, err := open(Config{DataDir: own, Hubs: HubsConfig{SharedDir: shared}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(own, "pki")); err == nil {
		t.Error("a hub with a shared directory has a CA of its own")
	}
	if again, err := open(Config{DataDir: other, Hubs: HubsConfig{PKIDir: filepath.Join(shared, "pki")}}); err != nil || again != first {
		t.Errorf("got %s, %v; want %s", again, err, first)
	}
	if _, err := open(Config{DataDir: own}); fault.ReasonOf(err) != "NO_CA" {
		t.Errorf("a hub without the CA: %v", err)
	}
	if _, err := makeCA(filepath.Join(other, "pki")); err != nil {
		t.Fatal(err)
	}
	if _, err := open(Config{DataDir: other}); fault.ReasonOf(err) != "OTHER_CA" {
		t.Errorf("a hub with another CA: %v", err)
	}
}

func TestFlagsOfSeveralHubs(t *testing.T) {
	for _, c := range []struct {
		config Config
		ok     bool
	}{
		{Config{}, true},
		{Config{Hubs: HubsConfig{PKIDir: "/pki"}}, true},
		{Config{Hubs: HubsConfig{SharedDir: "/shared"}}, false},
		{Config{Hubs: HubsConfig{AdvertiseHost: "hub0"}}, false},
		{Config{EtcdEndpoints: []string{"http://etcd:2379"}, Hubs: HubsConfig{SharedDir: "/shared", AdvertiseHost: "hub0"}}, true},
	} {
		if err := c.config.checkHubs(); (err == nil) != c.ok {
			t.Errorf("%+v: %v", c.config.Hubs, err)
		}
	}
}
