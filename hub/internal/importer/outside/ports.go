package outside

import (
	"strconv"
	"strings"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

// ports is a list of ranges of ports, ends included.
type ports [][2]uint16

func parsePorts(field string, texts []string) (ports, error) {
	var out ports
	for _, text := range texts {
		from, to, is := strings.Cut(text, "-")
		if !is {
			to = from
		}
		first, err1 := strconv.ParseUint(from, 10, 16)
		last, err2 := strconv.ParseUint(to, 10, 16)
		if err1 != nil || err2 != nil || first == 0 || first > last {
			return nil, fault.BadField(field, "%q is not a port such as 443 or a range such as 8000-8999", text)
		}
		out = append(out, [2]uint16{uint16(first), uint16(last)})
	}
	return out, nil
}

func (l ports) contain(port uint16) bool {
	for _, r := range l {
		if r[0] <= port && port <= r[1] {
			return true
		}
	}
	return false
}
