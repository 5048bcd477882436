package imageapi

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

// checkRequest checks what comes before the body: how much of it there is, and the characters of the URL.
func checkRequest(r *http.Request) error {
	size := 0
	for name, values := range r.Header {
		for _, v := range values {
			size += len(name) + len(v) + 4
		}
	}
	if size > MaxHeader {
		return Status(fault.New(fault.Invalid, "HEADERS_TOO_LARGE", "the headers may have at most %d bytes", MaxHeader),
			http.StatusRequestHeaderFieldsTooLarge)
	}
	if len(r.URL.Path)+len(r.URL.RawQuery) > MaxURL {
		return Status(fault.New(fault.Invalid, "URL_TOO_LONG", "the URL may have at most %d bytes", MaxURL), http.StatusRequestURITooLong)
	}
	if err := CheckText("URL", r.URL.Path); err != nil {
		return err
	}
	query := r.URL.RawQuery
	if !strings.Contains(query, "%") {
		return CheckText("URL", query)
	}
	plain, err := url.QueryUnescape(query)
	if err != nil {
		return fault.New(fault.Invalid, "INVALID_URL", "the query of the URL is not escaped correctly")
	}
	return CheckText("URL", plain)
}
