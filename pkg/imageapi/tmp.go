package imageapi

import (
	"net/http"

	"github.com/hashicorp/go-hclog"

	"github.com/atoll-dcn/atoll/pkg/auth"
)

const timestamp = "2006-01-02T15:04:05Z"

func (rd *Reads) list(http.ResponseWriter, *http.Request) error         { return nil }
func (rd *Reads) show(http.ResponseWriter, *http.Request) error         { return nil }
func (rd *Reads) listMembers(http.ResponseWriter, *http.Request) error  { return nil }
func (rd *Reads) showMember(http.ResponseWriter, *http.Request) error   { return nil }
func (rd *Reads) download(http.ResponseWriter, *http.Request) error     { return nil }
func (rd *Reads) listStores(http.ResponseWriter, *http.Request) error   { return nil }
func (rd *Reads) detailStores(http.ResponseWriter, *http.Request) error { return nil }
func registerSchemas(*Router)                                           {}

// WriteImage answers with the image as the caller sees it.
func (rd *Reads) WriteImage(w http.ResponseWriter, code int, c *auth.Caller, img *Image) error {
	return WriteJSON(w, code, img)
}

// NewHTTPServer returns a server.
func NewHTTPServer(handler http.Handler, log hclog.Logger) *http.Server {
	return &http.Server{Handler: handler}
}
