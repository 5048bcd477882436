package ctl

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/atoll-dcn/atoll/pkg/signature"
)

// proof is what `image verify` has found to be true. It is shown only when nothing is wrong.
type proof struct {
	File      string          `json:"file,omitempty"`
	Image     string          `json:"image,omitempty"`
	Name      string          `json:"name,omitempty"`
	Bytes     int64           `json:"size_bytes,omitempty"`
	SHA512    string          `json:"sha512,omitempty"`          // absent when the hub knows none
	Manifest  string          `json:"manifest_digest,omitempty"` // absent when the hub knows none
	Source    string          `json:"source,omitempty"`          // how the data came in
	Signature *signatureProof `json:"signature,omitempty"`
	Copies    []copyProof     `json:"copies,omitempty"`
}

// signatureProof is a signature that is right.
type signatureProof struct {
	Hash        string     `json:"hash_method"`
	Key         string     `json:"key_type"`
	ID          string     `json:"certificate_uuid"`
	Fingerprint string     `json:"certificate_sha256"`
	Subject     string     `json:"subject"`
	ByHub       *time.Time `json:"verified_by_hub,omitempty"` // when the data came in
	Trusted     bool       `json:"trusted,omitempty"`         // the operator of the hub vouches for the certificate
	Here        bool       `json:"verified_here"`             // over the data itself, by this program
	Compared    bool       `json:"certificate_compared"`      // that of --certificate is the one the hub has used
}

// copyProof is what is known of one copy.
type copyProof struct {
	Store    string     `json:"store"`
	Phase    string     `json:"phase"`
	Compared *time.Time `json:"compared,omitempty"` // with the manifest; absent: never
}

// proofOf describes a signature that was verified here.
func proofOf(r *signature.Request, c *x509.Certificate) *signatureProof {
	return &signatureProof{
		Hash: string(r.Hash), Key: string(r.Key), ID: r.CertificateID, Fingerprint: fingerprint(c), Subject: c.Subject.String(), Here: true,
	}
}

func fingerprint(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return hex.EncodeToString(sum[:])
}

// noteDates tells when a certificate is not valid now. That does not make a signature wrong that was made before.
func (c *cli) noteDates(certificate *x509.Certificate) {
	now := c.env.Now()
	if now.Before(certificate.NotBefore) || now.After(certificate.NotAfter) {
		_, _ = fmt.Fprintf(c.env.Stderr, "note: the certificate is valid from %s until %s only\n",
			certificate.NotBefore.UTC().Format(time.RFC3339), certificate.NotAfter.UTC().Format(time.RFC3339))
	}
}

// showProof writes what is true.
func (c *cli) showProof(p *proof) error {
	if c.format != asTable {
		data, err := json.Marshal(p)
		if err != nil {
			return err
		}
		return c.write(data)
	}
	l := &lines{}
	if p.File != "" {
		l.add("file", p.File)
	} else {
		l.add("id", p.Image)
		l.add("name", p.Name)
		l.add("size", sizeInFull(p.Bytes))
		l.add("sha512", right(p.SHA512))
		l.add("manifest", right(p.Manifest))
		if p.Source != "" {
			l.add("came as", p.Source)
		}
	}
	c.addSignature(l, p.Signature)
	var copies []string
	for _, r := range p.Copies {
		when := "never compared with the manifest"
		if r.Compared != nil {
			when = "compared with the manifest " + c.moment(*r.Compared)
		}
		copies = append(copies, fmt.Sprintf("%s: %s, %s", r.Store, r.Phase, when))
	}
	if p.File == "" {
		l.pairs("copies", copies...)
	}
	_, err := io.WriteString(c.env.Stdout, l.text(2))
	return err
}

// right says that a digest has been compared.
func right(digest string) string {
	if digest == "" {
		return "unknown to the hub, not compared"
	}
	return digest + " (right)"
}

func (c *cli) addSignature(l *lines, s *signatureProof) {
	if s == nil {
		l.add("signature", "none")
		return
	}
	l.add("signature", s.Key+" with "+s.Hash)
	l.add("certificate", s.ID)
	l.add("fingerprint", "sha256:"+s.Fingerprint)
	l.add("subject", s.Subject)
	var by []string
	if s.ByHub != nil {
		by = append(by, "by the hub when the data came in, "+c.moment(*s.ByHub))
		if !s.Trusted {
			by = append(by, "the certificate leads to no authority that the hub trusts")
		}
	}
	switch {
	case s.Here:
		by = append(by, "here, with the certificate given")
	case s.Compared:
		by = append(by, "the certificate given is the one that the hub has used")
	}
	l.pairs("verified", by...)
}

// moment returns a time for people.
func (c *cli) moment(t time.Time) string {
	return fmt.Sprintf("%s (%s ago)", t.UTC().Format("2006-01-02 15:04:05 MST"), span(c.env.Now().Sub(t)))
}
