package rpc

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"sync"
	"time"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

// ServerTLS returns the TLS configuration of an API that users reach, from PEM files with a certificate chain and its key.
// The files are looked at again with each handshake, so that a renewed certificate is used without a restart; while they
// cannot be read, the last good ones are. protocols are those of ALPN, such as "h2". Errors: Invalid, naming the field of the
// pair that is wrong.
func ServerTLS(certFile, keyFile string, protocols ...string) (*tls.Config, error) {
	k := &keyPair{certFile: certFile, keyFile: keyFile}
	if err := k.load(); err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     protocols,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return k.current(), nil },
	}, nil
}

// ClientTLS returns the TLS configuration with which users reach a hub. caFile names a PEM file with the certificates to
// trust; empty means those of this machine. The name of the server is that of the address.
func ClientTLS(caFile string) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if caFile == "" {
		return c, nil
	}
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return nil, fault.Wrap(err, fault.Invalid, "INVALID_FIELD", "ca-file: cannot be read")
	}
	c.RootCAs = x509.NewCertPool()
	if !c.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fault.BadField("ca-file", "holds no certificate in PEM form")
	}
	return c, nil
}

// keyPair is a certificate on disk that may be replaced at any time.
type keyPair struct {
	certFile, keyFile string

	mu      sync.Mutex
	pair    *tls.Certificate
	changed [2]time.Time // modification times of what has been loaded
}

// current returns the pair on disk, or the last one that could be loaded.
func (k *keyPair) current() *tls.Certificate {
	k.mu.Lock()
	defer k.mu.Unlock()
	if now, err := k.times(); err == nil && now != k.changed {
		_ = k.load() // half written pairs are met here: the next handshake tries again
	}
	return k.pair
}

// load reads the pair. The caller holds mu, or is the only one.
func (k *keyPair) load() error {
	times, err := k.times()
	if err != nil {
		return fault.Wrap(err, fault.Invalid, "INVALID_FIELD", "the TLS certificate or its key cannot be read")
	}
	pair, err := tls.LoadX509KeyPair(k.certFile, k.keyFile)
	if err != nil {
		return fault.Wrap(err, fault.Invalid, "INVALID_FIELD", "the TLS certificate and its key do not fit or are not in PEM form")
	}
	k.pair, k.changed = &pair, times
	return nil
}

func (k *keyPair) times() (t [2]time.Time, err error) {
	for i, name := range []string{k.certFile, k.keyFile} {
		info, err := os.Stat(name)
		if err != nil {
			return t, err
		}
		t[i] = info.ModTime()
	}
	return t, nil
}
