package outside

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/url"
	"strings"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

// Reasons of failures.
const (
	ReasonUnreachable = "SOURCE_UNREACHABLE" // nothing answers, or nothing may be asked: the two look the same
	ReasonUntrusted   = "SOURCE_UNTRUSTED"   // the certificate is not one that is trusted
	ReasonInsecure    = "SOURCE_INSECURE"    // https led to http
	ReasonNotData     = "SOURCE_NOT_DATA"    // a web page
	ReasonChanged     = "SOURCE_CHANGED"     // other bytes than before a break
	ReasonLost        = "SOURCE_LOST"        // it broke too often
	ReasonSlow        = "SOURCE_TOO_SLOW"
)

var (
	errRefused   = errors.New("the address is not allowed")
	errRedirects = errors.New("too many redirects")
	errInsecure  = errors.New("a redirect from https to http")
	errLocation  = errors.New("a redirect that cannot be followed")
	errStalled   = errors.New("silent for too long")
)

// Status is the HTTP status of an answer that is no data.
type Status int

// Error says the same as the message it is the cause of.
func (s Status) Error() string { return "HTTP status" }

// unreachable is the one error for a source that does not answer and for one that may not be asked.
func unreachable(cause error) error {
	return fault.Wrap(cause, fault.Unavailable, ReasonUnreachable, "uri: the source cannot be reached")
}

// transportError returns what users may know of an error of an HTTP client; the cause is for the log.
func transportError(err error) error {
	cause := scrub(err)
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.As(err, &certificate):
		return fault.Wrap(cause, fault.Precondition, ReasonUntrusted, "uri: %s", distrust(certificate.Err))
	case errors.Is(err, errInsecure):
		return fault.Wrap(cause, fault.Precondition, ReasonInsecure,
			"uri: the source leads from https to http; that is followed only with a checksum of the data")
	}
	return unreachable(cause)
}

// distrust says what is wrong with a certificate.
func distrust(err error) string {
	var (
		name    x509.HostnameError
		invalid x509.CertificateInvalidError
	)
	switch {
	case errors.As(err, &name):
		return "the source's certificate is for another name"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "the source's certificate is expired or not valid yet"
	}
	return "the source's certificate is not trusted"
}

// scrub returns an error of an HTTP client without the URLs that it names, which may hold secrets.
func scrub(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err
	}
	if strings.Contains(err.Error(), "://") || strings.Contains(err.Error(), "Location header") {
		return errLocation
	}
	return err
}

// final is what becomes of an error after which nothing is tried any more. A user who asks again at once gets the same
// answer, so it is no longer one of those that call for that.
func final(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if e, ok := fault.As(err); ok && e.Class == fault.Unavailable {
		return fault.Wrap(e.Cause, fault.Precondition, e.Reason, "%s", e.Message)
	}
	return err
}
