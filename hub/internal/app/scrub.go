package app

import (
	"time"

	"github.com/spf13/pflag"

	"github.com/atoll-dcn/atoll/hub/internal/reconcile"
	"github.com/atoll-dcn/atoll/pkg/fault"
)

// Values of --repair.
const (
	repairAuto = "auto" // damaged copies are made again by themselves
	repairOff  = "off"  // they are kept until somebody says so
)

// ScrubConfig is about proofs that copies are intact, and about those that are not.
type ScrubConfig struct {
	Least  time.Duration // shortest period; tests have no hour
	Repair string
}

func (c *Config) scrubbing(f *pflag.FlagSet) {
	s := &c.Settings
	f.DurationVar(&s.ScrubPeriod, "scrub-period", s.ScrubPeriod, "every copy is compared with its manifest again within this time; 0 for never, else 1h or more")
	f.IntVar(&s.ScrubParallel, "scrub-parallel", s.ScrubParallel, "copies of one site that are compared at once; 1 to 16")
	f.StringVar(&c.Scrub.Repair, "repair", repairAuto, "what to do with damaged copies that nothing depends on: auto makes them again, off waits for replica retry")
	f.DurationVar(&c.Scrub.Least, "scrub-period-least", time.Hour, "shortest --scrub-period")
	_ = f.MarkHidden("scrub-period-least")
}

// check returns the first thing that is wrong, and passes the rest on.
func (c *ScrubConfig) check(s *reconcile.Settings) error {
	if s.ScrubPeriod != 0 && s.ScrubPeriod < c.Least {
		return fault.BadField("scrub-period", "must be 0 or at least %s", c.Least)
	}
	if s.ScrubParallel < 1 || s.ScrubParallel > 16 {
		return fault.BadField("scrub-parallel", "must be between 1 and 16")
	}
	if c.Repair != repairAuto && c.Repair != repairOff {
		return fault.BadField("repair", "must be %s or %s", repairAuto, repairOff)
	}
	s.Repair = c.Repair == repairAuto
	return nil
}
