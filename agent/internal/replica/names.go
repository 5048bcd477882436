package replica

import (
	"strings"

	"github.com/atoll-dcn/atoll/pkg/image"
)

const (
	hiddenPrefix    = "atoll."
	condemnedPrefix = "atoll-condemned."

	metaContent  = "atoll.content"  // content id
	metaImage    = "atoll.image"    // UUID of the image; another one in a clone, which inherits all metadata
	metaManifest = "atoll.manifest" // root digest in hex; set right before publishing
	metaSums     = "atoll.sums."    // and a page number: see ledger; hidden images only
	metaVerified = "atoll.verified" // outcome of the latest verification, or of the check before publishing
)

func publishedName(id image.ID) string { return string(id) }
func hiddenName(id image.ID) string    { return hiddenPrefix + string(id) }
func condemnedName(id image.ID) string { return condemnedPrefix + string(id) }

// unpublished returns the image that a hidden or condemned name belongs to.
func unpublished(name string) (image.ID, bool) {
	rest, ok := strings.CutPrefix(name, hiddenPrefix)
	if !ok {
		rest, ok = strings.CutPrefix(name, condemnedPrefix)
	}
	if !ok {
		return "", false
	}
	id, err := image.ParseID("image", rest)
	return id, err == nil
}
