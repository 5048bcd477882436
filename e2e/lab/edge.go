package lab

import (
	"fmt"
	"testing"
)

// NewEdge starts a lab as New does, in which the agent of dcn0 serves the Image API for anybody who is on the machine. That agent
// gets its data over the network, where limits hold. It returns the lab and somebody who asks the agent.
func NewEdge(t *testing.T) (*Lab, *Actor) {
	t.Helper()
	image, edge, frames := freeAddress(t), freeAddress(t), freeAddress(t)
	l := newLab(t, setup{
		image: image, flags: []string{"--frames-addr", frames},
		options: map[string]Options{"dcn0": {"frames": "https://" + frames}},
		extra: map[string]string{
			"dcn0": fmt.Sprintf("image_api: {address: %q, hub_image_url: %q, auth: none}\n", edge, "http://"+image),
		},
	})
	at := l.Anyone()
	at.Name, at.base = "anyone at dcn0", "http://"+edge
	return l, at
}
