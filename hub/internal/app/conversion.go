package app

import (
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/pflag"

	"github.com/atoll-dcn/atoll/hub/internal/convert/qemu"
)

// ConversionConfig is about qemu-img, which reads the disk formats that the hub does not read itself.
type ConversionConfig struct {
	Program string
	User    string
	Memory  string
	Time    time.Duration
	Most    int
}

func (c *Config) conversion(f *pflag.FlagSet) {
	q := &c.Conversion
	f.StringVar(&q.Program, "qemu-img", qemu.DefaultProgram, "name or path of qemu-img, with which vmdk, vhd, vhdx and vdi are converted")
	f.StringVar(&q.User, "qemu-user", "", "whom qemu-img runs as when the hub is root: a user's name or UID:GID; default nobody")
	f.StringVar(&q.Memory, "qemu-memory", "1GiB", "most memory that one qemu-img takes")
	f.DurationVar(&q.Time, "qemu-time", 0, "most processor time that one qemu-img takes; default 10m and 10s for each GiB of the disk")
	f.IntVar(&q.Most, "qemu-conversions", qemu.DefaultMost, "most qemu-img at once; further conversions wait")
}

// converter returns what converts with qemu-img, which need not be there.
func (c *Config) converter(log hclog.Logger) (*qemu.Converter, error) {
	q := c.Conversion
	memory, err := parseSize("qemu-memory", q.Memory)
	if err != nil {
		return nil, err
	}
	return qemu.New(qemu.Options{Program: q.Program, User: q.User, Memory: memory, CPU: q.Time, Most: q.Most, Log: log})
}
