package app

import (
	"testing"
	"time"

	"github.com/atoll-dcn/atoll/hub/internal/reconcile"
	"github.com/atoll-dcn/atoll/pkg/fault"
)

func TestScrubFlags(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		period   time.Duration
		parallel int
		repair   string
		reason   string
	}{
		"default":         {7 * 24 * time.Hour, 1, repairAuto, ""},
		"never":           {0, 1, repairOff, ""},
		"shortest":        {time.Hour, 16, repairAuto, ""},
		"too short":       {time.Hour - 1, 1, repairAuto, "INVALID_FIELD"},
		"negative":        {-time.Hour, 1, repairAuto, "INVALID_FIELD"},
		"none at once":    {time.Hour, 0, repairAuto, "INVALID_FIELD"},
		"too many":        {time.Hour, 17, repairAuto, "INVALID_FIELD"},
		"repair what now": {time.Hour, 1, "maybe", "INVALID_FIELD"},
	} {
		s := reconcile.Settings{ScrubPeriod: c.period, ScrubParallel: c.parallel}
		err := (&ScrubConfig{Least: time.Hour, Repair: c.repair}).check(&s)
		if (err == nil) != (c.reason == "") || err != nil && fault.ReasonOf(err) != c.reason {
			t.Errorf("%s: got %v", name, err)
		}
		if err == nil && s.Repair != (c.repair == repairAuto) {
			t.Errorf("%s: repair is %v", name, s.Repair)
		}
	}
}
