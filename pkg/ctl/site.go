package ctl

import (
	"fmt"

	"github.com/spf13/cobra"

	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

func (c *cli) site() *cobra.Command {
	return noun("site", groupPlaces, "Sites and the identity of their agents",
		c.siteCreate(), c.siteList(), c.siteShow(), c.siteUpdate(), c.siteDelete(), c.siteToken(), c.siteRevoke(),
		c.siteLimit(), c.sitePause(), c.siteResume())
}

// showSite writes one site.
func (c *cli) showSite(s *hubv1.Site) error {
	return c.show(s, func(l *lines) {
		l.add("id", s.GetId())
		l.add("description", s.GetDescription())
		l.add("created", c.when(s.GetCreateTime()))
		l.add("connected", yesNo(s.GetConnected()))
		if s.GetConnected() {
			l.add("connected since", c.when(s.GetConnectionTime()))
		} else {
			l.add("last seen", c.when(s.GetConnectionTime()))
		}
		l.add("agent version", s.GetAgentVersion())
		l.add("agent address", s.GetAgentAddress())
		l.add("certificate until", c.when(s.GetCertificateExpireTime()))
		l.pairs("stores", s.GetStores()...)
		if s.GetPauseTime() != nil {
			l.add("paused since", c.when(s.GetPauseTime()))
		}
		l.add("rate", perSecond(s.GetBytesPerSecond()))
		l.add("limit now", limitNow(s))
		if s.GetLimitChangeTime() != nil {
			l.add("limit changes", c.when(s.GetLimitChangeTime()))
		}
		if s.GetLimits() != nil {
			l.add("limit", rateOf(s.GetLimits().BytesPerSecond).String())
			l.pairs("windows", s.GetLimits().GetWindows()...)
			if n := s.GetLimits().ParallelTransfers; n != nil {
				l.add("copies at once", fmt.Sprint(*n))
			}
		}
		if s.GetLastRefusal() != "" {
			l.add("last refusal", s.GetLastRefusal())
			l.add("refused", c.when(s.GetLastRefusalTime()))
		}
	})
}
