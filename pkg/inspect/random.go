package inspect

import "io"

// mostRegions bounds how many regions one format may ask for.
const mostRegions = 16

// Look says what size bytes are that can be read anywhere: the same as an Inspector that has seen all of them, of which it reads
// a few hundred KiB at most. Errors are those of r.
func Look(r io.ReaderAt, size int64) (Finding, error) {
	in := Inspector{size: size}
	var err error
	if in.head, err = readRange(r, 0, min(size, headSize)); err != nil {
		return Finding{}, err
	}
	if in.tail, err = readRange(r, max(0, size-tailSize), min(size, tailSize)); err != nil {
		return Finding{}, err
	}
	in.recognise()
	for _, c := range in.known {
		if err := c.look(r, in.head, size); err != nil {
			return Finding{}, err
		}
	}
	return in.Finish(), nil
}

// look takes the regions that are wanted. One that the data ends before stays wanted.
func (c *candidate) look(r io.ReaderAt, head []byte, size int64) error {
	c.begin(head)
	c.got = nil
	behind := int64(0) // regions come in ascending order
	for n := 0; c.want != nil && c.fault == ""; n++ {
		w := c.want
		switch {
		case w.at < 0 || w.length <= 0 || w.length > mostWant || n == mostRegions:
			c.refuse("its header asks for too much")
			return nil
		case w.at < behind:
			c.refuse("its parts are in an order that cannot be checked")
			return nil
		case w.at > size-int64(w.length):
			return nil
		}
		p, err := readRange(r, w.at, int64(w.length))
		if err != nil {
			return err
		}
		behind = w.at + int64(w.length)
		c.want = w.seen(c, p)
	}
	return nil
}

func readRange(r io.ReaderAt, at, length int64) ([]byte, error) {
	p := make([]byte, length)
	n, err := r.ReadAt(p, at)
	if n == len(p) {
		return p, nil // also where the data ends
	}
	return nil, err
}
