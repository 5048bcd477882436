package ctl

import (
	"context"
	"crypto"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/signature"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
)

// signFlags is the flags of `image sign`.
type signFlags struct {
	key, certificate, id, hash, image string
}

func (c *cli) imageSign() *cobra.Command {
	var f signFlags
	cmd := &cobra.Command{
		Use:   "sign FILE --key KEY.pem --certificate-uuid UUID",
		Short: "Sign a file, so that the hub can prove who has made the image",
		Long: `Sign FILE, or standard input with -, as it will be uploaded, and print the four properties that carry the signature.
Set them on an image before its data comes in: with --image, or with --property. The hub then refuses other data than this.

The key is RSA of at least 2048 bits (RSA-PSS), or one of the curves P-256, P-384 and P-521. Its certificate is found under
--certificate-uuid by the hub: in its trust directory, or in the key manager of OpenStack, where you have stored it. OpenStack's
own services verify all but P-256. The key never leaves this machine.`,
		Example: `  atollctl image sign debian.qcow2 --key signer.key --certificate-uuid 2bd882e7-1da0-4078-97fe-f1bb81f61b00 --image debian-12
  atollctl image sign debian.qcow2 --key signer.key --certificate-uuid 2bd882e7-1da0-4078-97fe-f1bb81f61b00 > debian.sig`,
		Args:                  takes("FILE"),
		DisableFlagsInUseLine: true,
		RunE: c.local(func(ctx context.Context, args []string) error {
			return c.sign(ctx, args[0], f)
		}),
	}
	fs := cmd.Flags()
	fs.StringVar(&f.key, "key", "", "private key in PEM, without a password (required)")
	fs.StringVar(&f.id, "certificate-uuid", "", "UUID under which the hub finds the certificate (required)")
	fs.StringVar(&f.hash, "hash", string(signature.HashMethods[0]), "hash that is signed: SHA-256, SHA-384, SHA-512 or SHA-224")
	fs.StringVar(&f.certificate, "certificate", "", "certificate in PEM or DER, to see that the key is its own")
	fs.StringVar(&f.image, "image", "", "image to set the properties of, which must not have data yet")
	var names []string
	for _, m := range signature.HashMethods {
		names = append(names, string(m))
	}
	offers(cmd, "hash", names...)
	c.completeFlag(cmd, "image", c.images)
	must(cmd.RegisterFlagCompletionFunc("certificate-uuid", cobra.NoFileCompletions))
	return cmd
}

// sign signs a file and shows the properties, or sets them.
func (c *cli) sign(ctx context.Context, file string, f signFlags) error {
	switch {
	case f.key == "":
		return fault.BadField("--key", "name the file of the private key")
	case f.id == "":
		return fault.BadField("--certificate-uuid", "say under which UUID the hub finds the certificate")
	}
	key, err := readKey(f.key)
	if err != nil {
		return err
	}
	method, err := signature.ParseHashMethod(f.hash)
	if err != nil {
		return err
	}
	img, err := c.signable(ctx, f.image)
	if err != nil {
		return err
	}
	if f.certificate != "" {
		if err := checkPair(key, f.certificate); err != nil {
			return err
		}
	}
	h := method.New()
	if err := c.hashFile(ctx, file, h); err != nil {
		return err
	}
	made, err := signature.Sign(key, method, strings.ToLower(f.id), h.Sum(nil))
	if err != nil {
		return err
	}
	if img == nil {
		return c.showProperties(made.Map())
	}
	updated, err := c.setProperties(ctx, img, made.Map())
	if err != nil {
		return err
	}
	return c.showImage(ctx, updated)
}

// signable returns the image that will get the properties, nil without a name. One with data is refused: signatures are
// verified when data comes in, not afterwards.
func (c *cli) signable(ctx context.Context, name string) (*hubv1.Image, error) {
	if name == "" {
		return nil, nil //nolint:nilnil // nobody has named one
	}
	if err := c.dial(); err != nil {
		return nil, err
	}
	img, err := c.hub.FindImage(ctx, name)
	if err != nil {
		return nil, err
	}
	if img.GetStatus() != hubv1.ImageStatus_IMAGE_STATUS_QUEUED {
		return nil, fault.New(fault.Precondition, "WRONG_STATUS",
			"image %s is %s; a signature is verified when the data comes in, so it has to be there before", img.GetId(), statusWord(img))
	}
	return img, nil
}

func readKey(name string) (crypto.Signer, error) {
	data, err := readSmall(name)
	if err != nil {
		return nil, err
	}
	key, err := signature.ParseKey(data)
	return key, named(name, err)
}

// checkPair refuses a key that is not the certificate's.
func checkPair(key crypto.Signer, name string) error {
	certificate, err := readCertificate(name)
	if err != nil {
		return err
	}
	if !signature.Belongs(key, certificate.PublicKey) {
		return fault.New(fault.Invalid, "KEY_MISMATCH", "the key is not that of the certificate in %s", name)
	}
	return nil
}

// showProperties writes properties one a line, as --property takes them.
func (c *cli) showProperties(all map[string]string) error {
	if c.format != asTable {
		data, err := json.Marshal(all)
		if err != nil {
			return err
		}
		return c.write(data)
	}
	for _, name := range signature.Properties {
		if _, err := io.WriteString(c.env.Stdout, fmt.Sprintf("%s=%s\n", name, all[name])); err != nil {
			return err
		}
	}
	return nil
}

// setProperties adds properties to an image.
func (c *cli) setProperties(ctx context.Context, img *hubv1.Image, all map[string]string) (*hubv1.Image, error) {
	return c.editImage(ctx, img, func(now *hubv1.Image) (*hubv1.UpdateImageRequest, error) {
		return &hubv1.UpdateImageRequest{
			Image:      &hubv1.Image{Id: now.GetId(), Etag: now.GetEtag(), Properties: merge(now.GetProperties(), all, nil)},
			UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"properties"}},
		}, nil
	})
}
