package signature

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"errors"
)

// The lengths of RSA keys in bits. Shorter ones can be broken; longer ones only cost time.
const (
	minRSA = 2048
	maxRSA = 8192
)

// Fits returns an Invalid error (ReasonInvalid) unless the key of the certificate is one of the type that the signature is
// said to have.
func (r *Request) Fits(certificate *x509.Certificate) error { return r.fits(certificate.PublicKey) }

func (r *Request) fits(key crypto.PublicKey) error {
	t, err := typeOf(key)
	if err != nil {
		return refuse(PropertyKey, ReasonInvalid, "the certificate cannot be used: %s", err)
	}
	if t != r.Key {
		return refuse(PropertyKey, ReasonInvalid, "is %s, but the key of the certificate is one for %s", r.Key, t)
	}
	return nil
}

// typeOf returns the type of a public key.
func typeOf(key crypto.PublicKey) (KeyType, error) {
	switch k := key.(type) {
	case *rsa.PublicKey:
		switch bits := k.N.BitLen(); {
		case bits < minRSA:
			return "", errors.New("RSA keys of less than 2048 bits are too weak")
		case bits > maxRSA:
			return "", errors.New("RSA keys of more than 8192 bits are not supported")
		}
		return RSAPSS, nil
	case *ecdsa.PublicKey:
		for t, curve := range curves {
			if k.Curve == curve {
				return t, nil
			}
		}
		return "", errors.New("its curve is not supported; P-256, P-384 and P-521 are")
	default:
		return "", errors.New("its key is neither RSA nor one of the curves P-256, P-384 and P-521")
	}
}

// Verify returns nil when the signature is one of the digest by the key of the certificate. digest is the sum of NewHash. The
// certificate itself is not judged. Errors are Invalid (ReasonInvalid) and say what does not fit.
//
// RSA-PSS has MGF1 with the same hash; every length of salt is accepted, of which OpenStack uses the largest. A signature
// with ECDSA is the ASN.1 DER of r and s. Both as in python-cursive, signature_utils.
func (r *Request) Verify(certificate *x509.Certificate, digest []byte) error {
	if err := r.Fits(certificate); err != nil {
		return err
	}
	if len(digest) != hashes[r.Hash].Size() {
		return refuse(PropertyHash, ReasonInvalid, "the digest is not one of %s", r.Hash)
	}
	var right bool
	switch key := certificate.PublicKey.(type) {
	case *rsa.PublicKey:
		options := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthAuto}
		right = rsa.VerifyPSS(key, hashes[r.Hash], digest, r.Signature, options) == nil
	case *ecdsa.PublicKey:
		right = ecdsa.VerifyASN1(key, digest, r.Signature)
	}
	if !right {
		return refuse(PropertySignature, ReasonInvalid, "is not a signature of this data by the key of the certificate")
	}
	return nil
}
