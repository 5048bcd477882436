package ctl

import (
	"context"
	"crypto/x509"
	"errors"
	"io"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/signature"
)

// local wraps the body of a command that may do without the hub: it bounds the time, and leaves dialling to the body.
func (c *cli) local(body func(ctx context.Context, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		c.running = true
		ctx := cmd.Context()
		if c.timeout > 0 {
			var cancel context.CancelFunc
			ctx, cancel = c.env.within(ctx, c.timeout)
			defer cancel()
		}
		return body(ctx, args)
	}
}

// hashFile writes a file, or standard input with -, into w and shows how it gets on.
func (c *cli) hashFile(ctx context.Context, name string, w io.Writer) error {
	r, size := c.env.Stdin, int64(0)
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return unread(name, err)
		}
		defer func() { _ = f.Close() }()
		if size, err = length(f); err != nil {
			return unread(name, err)
		}
		r = f
	}
	p := c.newProgress()
	defer p.close()
	buf := make([]byte, 1<<20)
	for done := int64(0); ; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := r.Read(buf)
		_, _ = w.Write(buf[:n]) // a hash never fails
		done += int64(n)
		p.bytes(name, "hashing", done, size)
		switch {
		case errors.Is(err, io.EOF) && done == 0:
			return unread(name, errEmpty)
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return unread(name, err)
		}
	}
}

// unread is the error for a file that cannot be read, and names it once.
func unread(name string, err error) error {
	if name == "-" {
		name = "standard input"
	}
	text := err.Error()
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		text = path.Err.Error()
	}
	return fault.New(fault.Invalid, "FILE_UNREADABLE", "cannot read %s: %s", name, text)
}

// readSmall reads a file with a key, a certificate or properties.
func readSmall(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, unread(name, err)
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, signature.MaxPEM+1))
	if err != nil {
		return nil, unread(name, err)
	}
	return data, nil
}

// readText is readSmall, of standard input too.
func (c *cli) readText(name string) (string, error) {
	if name != "-" {
		data, err := readSmall(name)
		return string(data), err
	}
	data, err := io.ReadAll(io.LimitReader(c.env.Stdin, signature.MaxPEM))
	if err != nil {
		return "", unread(name, err)
	}
	return string(data), nil
}

// readCertificate reads the certificate of a signer.
func readCertificate(name string) (*x509.Certificate, error) {
	data, err := readSmall(name)
	if err != nil {
		return nil, err
	}
	all, err := signature.ParseCertificates(data)
	if err != nil {
		return nil, named(name, err)
	}
	return all[0], nil
}

// named puts the name of a file before what is wrong with it.
func named(name string, err error) error {
	if err == nil {
		return nil
	}
	return fault.Wrap(err, fault.ClassOf(err), fault.ReasonOf(err), "%s: %s", name, fault.Public(err))
}
