package ctl

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

func (c *cli) image() *cobra.Command {
	return noun("image", groupImages, "Virtual machine images: one UUID whatever the number of copies",
		c.imageImport(), c.imageList(), c.imageShow(), c.imageCopy(), c.imageUpdate(), c.imageDownload(), c.imageDelete(),
		c.imageCreate(), c.imageStage(), c.imageAdopt(), c.imageTag(), c.imageMember(), c.imageDeactivate(), c.imageReactivate(),
		c.imageSign(), c.imageVerify())
}

// showImage writes one image. As text it also says how the copies on their way get on.
func (c *cli) showImage(ctx context.Context, img *hubv1.Image) error {
	var underWay []string
	if c.format == asTable && len(img.GetImportingToStores())+len(img.GetFailedImport()) > 0 {
		replicas, err := collect(c.hub.AllReplicas(ctx, &hubv1.ListReplicasRequest{ImageId: img.GetId()}))
		if err != nil {
			return err
		}
		for _, r := range replicas {
			if slices.Contains(img.GetImportingToStores(), r.GetStoreId()) || slices.Contains(img.GetFailedImport(), r.GetStoreId()) {
				underWay = append(underWay, replicaRow(r.GetStoreId(), r, c.env.Now()).plain())
			}
		}
	}
	return c.show(img, func(l *lines) {
		l.add("id", img.GetId())
		l.add("name", img.GetName())
		l.add("status", statusWord(img))
		l.add("owner", img.GetOwner())
		l.add("visibility", word(img.GetVisibility(), "VISIBILITY_"))
		l.add("protected", yesNo(img.GetProtected()))
		if img.GetHidden() {
			l.add("hidden", "yes")
		}
		l.add("size", sizeInFull(img.GetSizeBytes()))
		if img.GetVirtualSizeBytes() > 0 && img.GetVirtualSizeBytes() != img.GetSizeBytes() {
			l.add("virtual size", sizeInFull(img.GetVirtualSizeBytes()))
		}
		if img.GetMinDiskGb() > 0 || img.GetMinRamMb() > 0 {
			l.add("needs", fmt.Sprintf("%d GB disk, %d MB memory", img.GetMinDiskGb(), img.GetMinRamMb()))
		}
		l.add("format", strings.Trim(img.GetDiskFormat()+", "+img.GetContainerFormat(), ", "))
		if from := came(img.GetOrigin()); from != "" {
			l.add("came as", from)
		}
		if sig := img.GetSignature(); sig != nil {
			l.add("signed by", fmt.Sprintf("%s (%s with %s, verified)", sig.GetSubject(), sig.GetKeyType(), sig.GetHashMethod()))
		}
		l.add("created", c.when(img.GetCreateTime()))
		l.add("updated", c.when(img.GetUpdateTime()))
		l.add("md5", img.GetChecksum())
		l.add(hashName(img), img.GetOsHashValue())
		l.add("manifest", img.GetManifestDigest())
		l.add("content", img.GetContentId())
		l.pairs("tags", img.GetTags()...)
		var properties []string
		for _, k := range slices.Sorted(maps.Keys(img.GetProperties())) {
			properties = append(properties, k+"="+img.GetProperties()[k])
		}
		l.pairs("properties", properties...)
		l.pairs("stores", img.GetStores()...)
		l.pairs("importing to", img.GetImportingToStores()...)
		l.pairs("failed import", img.GetFailedImport()...)
		if len(underWay) > 0 {
			l.pairs("under way", underWay...)
		}
		width := 0
		for _, at := range img.GetLocations() {
			width = max(width, len(at.GetStore()))
		}
		var locations []string
		for _, at := range img.GetLocations() {
			locations = append(locations, fmt.Sprintf("%-*s  %s", width, at.GetStore(), at.GetUrl()))
		}
		l.pairs("locations", locations...)
	})
}

// statusWord returns the status, with what a deactivation makes of it.
func statusWord(img *hubv1.Image) string {
	if img.GetDeactivated() {
		return "deactivated"
	}
	return word(img.GetStatus(), "IMAGE_STATUS_")
}

func hashName(img *hubv1.Image) string {
	if img.GetOsHashAlgo() == "" {
		return "sha512"
	}
	return img.GetOsHashAlgo()
}

// sizeInFull is empty while unknown.
func sizeInFull(n int64) string {
	if n <= 0 {
		return ""
	}
	return fmt.Sprintf("%s (%d bytes)", size(n), n)
}
