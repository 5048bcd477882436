package app

import (
	"encoding/json"
	"strings"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/frame"
)

// mostHubs bounds the addresses of hubs.
const mostHubs = 16

// Addresses are one address or several that lead to the same; each is tried when those before it do not answer.
type Addresses []string

// UnmarshalJSON reads a text, in which commas separate addresses, or a list of texts.
func (a *Addresses) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) != nil {
		return json.Unmarshal(b, (*[]string)(a))
	}
	*a = nil
	for part := range strings.SplitSeq(one, ",") {
		*a = append(*a, strings.TrimSpace(part))
	}
	return nil
}

// target returns the addresses as package rpc dials them.
func (a Addresses) target() string { return strings.Join(a, ",") }

// check returns the first thing that is wrong.
func (c *HubConfig) check() error {
	if len(c.Link) == 0 {
		c.Link = Addresses{""} // which is not an address
	}
	if len(c.Link) > mostHubs || len(c.Frames) > mostHubs {
		return fault.BadField("hub.link", "and hub.frames name at most %d hubs", mostHubs)
	}
	for _, address := range c.Link {
		if err := checkAddress("hub.link", address, "hub.example.net:9394"); err != nil {
			return err
		}
	}
	_, err := frame.ParseEndpoints("hub.frames", c.Frames)
	return err
}
