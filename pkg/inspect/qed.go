package inspect

import "bytes"

// detectQED recognises qed, which nobody needs and QEMU's own documents call obsolete: it is always refused.
func detectQED(head []byte) *candidate {
	if !bytes.HasPrefix(head, []byte("QED\x00")) {
		return nil
	}
	c := &candidate{format: QED}
	c.refuse("the format is not accepted")
	return c
}
