package app

import (
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/schedule"
)

func TestBandwidthFlags(t *testing.T) {
	t.Parallel()
	monday := time.Date(2026, 1, 5, 12, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		flags []string
		want  schedule.Rate
		field string // of the error
	}{
		"nothing said": {nil, schedule.Unlimited, ""},
		"limit":        {[]string{"--bandwidth-limit=100MiB/s"}, 100 << 20, ""},
		"window":       {[]string{"--bandwidth-window=Mon,Tue 08:00-18:00=2MiB/s", "--bandwidth-window=daily 00:00-24:00=3MiB/s"}, 2 << 20, ""},
		"too low":      {[]string{"--bandwidth-limit=64KiB/s"}, 0, "bandwidth-limit"},
		"no rate":      {[]string{"--bandwidth-limit=much"}, 0, "bandwidth-limit"},
		"no window":    {[]string{"--bandwidth-window=daily=0"}, 0, "bandwidth-window"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var config Config
			f := pflag.NewFlagSet("", pflag.ContinueOnError)
			config.bandwidth(f)
			if err := f.Parse(c.flags); err != nil {
				t.Fatal(err)
			}
			err := config.Bandwidth.check()
			if c.field != "" {
				if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), c.field) {
					t.Fatalf("got %v", err)
				}
				return
			}
			if rate, _ := config.Bandwidth.schedule.At(monday); err != nil || rate != c.want {
				t.Fatalf("got %s, %v", rate, err)
			}
		})
	}
}
