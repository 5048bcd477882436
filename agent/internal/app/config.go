package app

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/atoll-dcn/atoll/agent/internal/rbd/cephrbd"
	"github.com/atoll-dcn/atoll/agent/internal/replica"
	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
)

// Config is the agent's configuration file, YAML. docs/operations/agent.yaml describes every key.
type Config struct {
	Site        string        `json:"site"`
	Hub         HubConfig     `json:"hub"`
	StateDir    string        `json:"state_dir"`
	Stores      []StoreConfig `json:"stores"`
	Parallel    int           `json:"parallel"`
	Workers     int           `json:"workers"`
	Compact     string        `json:"compact"`
	LogLevel    string        `json:"log_level"`
	LogJSON     bool          `json:"log_json"`
	MetricsAddr string        `json:"metrics_addr"`

	ImageAPI ImageAPIConfig `json:"image_api"`
}

// HubConfig says where the hub is, or several hubs that share their work.
type HubConfig struct {
	Link   Addresses `json:"link"`
	Frames Addresses `json:"frames"`
}

// StoreConfig is one store of the site.
type StoreConfig struct {
	ID       string   `json:"id"`
	Driver   string   `json:"driver"`
	CephConf string   `json:"ceph_conf"`
	User     string   `json:"user"`
	Pool     string   `json:"pool"`
	Features []string `json:"features"`
	Path     string   `json:"path"`
	Verify   string   `json:"verify"`

	// WriteDepth is a number, "auto" or "gentle".
	WriteDepth json.RawMessage `json:"write_depth"`
	depth      int             // what it says
}

const (
	driverCeph = "ceph"
	driverFile = "file"
	maxWorkers = 64
	maxStores  = 64
)

// load reads and checks a configuration file. Relative paths in it are relative to the working directory.
func load(path string) (*Config, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "INVALID_FIELD", "config: the file %s cannot be read: %v", filepath.Base(path), plain(err))
	}
	return parse(b)
}

func parse(b []byte) (*Config, error) {
	text, err := yaml.YAMLToJSONStrict(b)
	if err != nil {
		return nil, fault.New(fault.Invalid, "INVALID_FIELD", "config: not valid YAML: %v", err)
	}
	c := &Config{}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(c); err != nil {
		return nil, decodeError(err)
	}
	return c, c.check()
}

// decodeError names the field that an error of the decoder is about.
func decodeError(err error) error {
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		if wrong.Field == "" {
			return fault.BadField("config", "must be fields with values, not a %s", wrong.Value)
		}
		return fault.BadField(wrong.Field, "must not be a %s", wrong.Value)
	}
	if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return fault.BadField(strings.Trim(name, `"`), "is not a field of the configuration")
	}
	return fault.New(fault.Invalid, "INVALID_FIELD", "config: %v", err)
}

// checkAddress returns an error unless s is HOST:PORT; example shows one.
func checkAddress(field, s, example string) error {
	if _, port, err := net.SplitHostPort(s); err != nil || port == "" {
		return fault.BadField(field, "%q is not an address HOST:PORT, such as %s", s, example)
	}
	return nil
}

// check fills in defaults and returns the first thing that is wrong.
func (c *Config) check() error {
	if _, err := image.ParseSiteID("site", c.Site); err != nil {
		return err
	}
	if err := c.Hub.check(); err != nil {
		return err
	}
	if c.MetricsAddr != "" {
		if err := checkAddress("metrics_addr", c.MetricsAddr, "127.0.0.1:9397"); err != nil {
			return err
		}
	}
	if c.StateDir == "" {
		return fault.BadField("state_dir", "is required, such as /var/lib/atoll-agent")
	}
	if c.LogLevel == "" {
		c.LogLevel = "info"
	}
	if c.Parallel < 0 || c.Parallel > maxWorkers {
		return fault.BadField("parallel", "%d is not between 1 and %d", c.Parallel, maxWorkers)
	}
	switch c.Compact {
	case "":
		c.Compact = replica.CompactAuto
	case replica.CompactAuto, replica.CompactAlways, replica.CompactNever:
	default:
		return fault.BadField("compact", "%q is not auto, always or never", c.Compact)
	}
	if c.Workers < 0 || c.Workers > maxWorkers {
		return fault.BadField("workers", "%d is not between 1 and %d", c.Workers, maxWorkers)
	}
	if len(c.Stores) == 0 || len(c.Stores) > maxStores {
		return fault.BadField("stores", "must name 1 to %d stores", maxStores)
	}
	seen := map[string]bool{}
	for i := range c.Stores {
		s := &c.Stores[i]
		field := fmt.Sprintf("stores[%d]", i)
		if seen[s.ID] {
			return fault.BadField(field+".id", "%q is used twice", s.ID)
		}
		seen[s.ID] = true
		if err := s.check(field); err != nil {
			return err
		}
	}
	return c.ImageAPI.check()
}

func (s *StoreConfig) check(field string) error {
	if _, err := image.ParseStoreID(field+".id", s.ID); err != nil {
		return err
	}
	if s.Driver == "" {
		s.Driver = driverCeph
	}
	switch s.Verify {
	case "":
		s.Verify = replica.VerifyChecksums
	case replica.VerifyChecksums, replica.VerifyRead:
	default:
		return fault.BadField(field+".verify", "%q is not checksums or read", s.Verify)
	}
	if err := s.checkDepth(field + ".write_depth"); err != nil {
		return err
	}
	switch s.Driver {
	case driverCeph:
		switch {
		case !cephrbd.Available:
			return fault.BadField(field+".driver", "this agent was built without Ceph; build it with cgo and librbd, or use driver file")
		case s.CephConf == "":
			return fault.BadField(field+".ceph_conf", "is required with driver ceph, such as /etc/ceph/ceph.conf")
		case s.Path != "":
			return fault.BadField(field+".path", "belongs to driver file")
		}
		if s.User == "" {
			s.User = "atoll"
		}
		if s.Pool == "" {
			s.Pool = "images"
		}
	case driverFile:
		switch {
		case s.Path == "":
			return fault.BadField(field+".path", "is required with driver file: the directory of the store")
		case s.CephConf != "" || s.User != "" || s.Pool != "" || len(s.Features) > 0:
			return fault.BadField(field, "ceph_conf, user, pool and features belong to driver ceph")
		}
	default:
		return fault.BadField(field+".driver", "%q is not one of ceph, file", s.Driver)
	}
	return nil
}

// checkDepth reads WriteDepth.
func (s *StoreConfig) checkDepth(field string) error {
	switch text := string(s.WriteDepth); text {
	case "", "null", `"auto"`:
		s.depth = replica.WriteAuto
	case `"gentle"`:
		s.depth = replica.WriteGentle
	default:
		if json.Unmarshal(s.WriteDepth, &s.depth) != nil || s.depth < 1 || s.depth > replica.MaxWriteDepth {
			return fault.BadField(field, "%s is not auto, gentle or a number from 1 to %d", text, replica.MaxWriteDepth)
		}
	}
	return nil
}
