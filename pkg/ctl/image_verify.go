package ctl

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/signature"
)

// verifyFlags is the flags of `image verify`.
type verifyFlags struct {
	certificate string
	properties  string
	property    []string
	copies      bool
}

func (c *cli) imageVerify() *cobra.Command {
	var f verifyFlags
	cmd := &cobra.Command{
		Use:   "verify (IMAGE | FILE --certificate CERTIFICATE --properties PROPERTIES)",
		Short: "Prove what an image or a file is: its digests, its copies and its signature",
		Long: `Of an IMAGE, download the data and compare it with the image's SHA-512 and with the root digest of its manifest, which is
what each site compares its copy with. Show the signature that the hub verified when the data came in, and when each copy was
last compared. With --copies every site proves its copy again now. With --certificate the signature is verified
here too; that of data which was converted or unpacked cannot be repeated, and its certificate is compared instead.

Of a FILE, verify the signature that 'image sign' has printed (--properties) with the signer's certificate. What has the name
of a file here is a file; use the UUID of an image that has the same name.`,
		Example: `  atollctl image verify debian-12 --copies
  atollctl image verify debian-12 --certificate signer.pem
  atollctl image verify debian.qcow2 --certificate signer.pem --properties debian.sig`,
		Args:                  takes("IMAGE"),
		DisableFlagsInUseLine: true,
		ValidArgsFunction: func(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
			found, _ := c.complete(c.images)(cmd, args, typed)
			if len(args) == 0 {
				return found, cobra.ShellCompDirectiveDefault // or a file
			}
			return nil, cobra.ShellCompDirectiveNoFileComp
		},
	}
	cmd.RunE = c.local(func(ctx context.Context, args []string) error {
		if isFile(args[0]) {
			return c.verifyFile(ctx, args[0], f)
		}
		if f.properties != "" || len(f.property) > 0 {
			return fault.BadField("--properties", "belongs to a file, and %q is none; the properties of an image are its own", args[0])
		}
		if err := c.dial(); err != nil {
			return err
		}
		return c.verifyImage(ctx, args[0], f)
	})
	fs := cmd.Flags()
	fs.StringVar(&f.certificate, "certificate", "", "certificate of the signer in PEM or DER")
	fs.StringVar(&f.properties, "properties", "", "file with the four properties of a signature, KEY=VALUE one a line; - is standard input")
	fs.StringArrayVar(&f.property, "property", nil, "one of the four properties, KEY=VALUE; may be repeated")
	fs.BoolVar(&f.copies, "copies", false, "let every site prove its copy again")
	must(cmd.RegisterFlagCompletionFunc("property", cobra.NoFileCompletions))
	return cmd
}

// isFile reports whether an argument names a file or standard input.
func isFile(arg string) bool {
	_, err := os.Stat(arg)
	return arg == "-" || err == nil || !errors.Is(err, fs.ErrNotExist) || strings.ContainsRune(arg, os.PathSeparator)
}

// verifyFile verifies the signature of a file.
func (c *cli) verifyFile(ctx context.Context, file string, f verifyFlags) error {
	switch {
	case f.copies:
		return fault.BadField("--copies", "belongs to an image, and %s is a file", file)
	case f.certificate == "":
		return fault.BadField("--certificate", "name the file of the signer's certificate")
	case file == "-" && f.properties == "-":
		return fault.BadField("--properties", "standard input is the data already")
	}
	properties, err := c.givenProperties(f)
	if err != nil {
		return err
	}
	r, err := signature.FromProperties(properties)
	if err != nil {
		return err
	}
	if r == nil {
		return fault.BadField("--properties", "none of the four properties of a signature is given")
	}
	certificate, err := readCertificate(f.certificate)
	if err != nil {
		return err
	}
	h := r.NewHash()
	if err := c.hashFile(ctx, file, h); err != nil {
		return err
	}
	if err := r.Verify(certificate, h.Sum(nil)); err != nil {
		return err
	}
	c.noteDates(certificate)
	return c.showProof(&proof{File: file, Signature: proofOf(r, certificate)})
}

// givenProperties returns the properties that the flags name.
func (c *cli) givenProperties(f verifyFlags) (map[string]string, error) {
	all := map[string]string{}
	if f.properties != "" {
		data, err := c.readText(f.properties)
		if err != nil {
			return nil, err
		}
		var lines []string
		for line := range strings.Lines(data) {
			if line = strings.TrimSpace(line); line != "" {
				lines = append(lines, line)
			}
		}
		found, err := parseProperties(lines)
		if err != nil {
			return nil, fault.BadField("--properties", "%s holds something else than lines of KEY=VALUE", f.properties)
		}
		maps.Copy(all, found)
	}
	more, err := parseProperties(f.property)
	if err != nil {
		return nil, err
	}
	maps.Copy(all, more)
	return all, nil
}
