package frame

import (
	"encoding/json"
	"io"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/manifest"
)

// demand is the body of an answer to a demand poll.
type demand struct {
	Indexes []int `json:"indexes"`
}

func encodeIndexes(w io.Writer, indexes []int) error {
	return json.NewEncoder(w).Encode(demand{Indexes: append([]int{}, indexes...)})
}

func decodeIndexes(r io.Reader) ([]int, error) {
	const perIndex = 12
	b, err := io.ReadAll(io.LimitReader(r, maxDemand*perIndex))
	if err != nil {
		return nil, err
	}
	var d demand
	if err := json.Unmarshal(b, &d); err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, "BAD_DEMAND", "the hub's answer cannot be read")
	}
	if len(d.Indexes) > maxDemand {
		return nil, fault.New(fault.Unavailable, "BAD_DEMAND", "the hub asks for too many chunks at once")
	}
	for _, i := range d.Indexes {
		if i < 0 || i >= manifest.MaxChunks {
			return nil, fault.New(fault.Unavailable, "BAD_DEMAND", "the hub asks for chunk %d, which cannot exist", i)
		}
	}
	return d.Indexes, nil
}
