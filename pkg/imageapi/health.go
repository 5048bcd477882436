package imageapi

import (
	"io"
	"net/http"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

// health answers whether the service can do its work. It asks for no token.
func (s *service) health(e *exchange, r *http.Request) error {
	e.route = "/healthcheck"
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return &notAllowed{methods: []string{http.MethodGet, http.MethodHead}}
	}
	e.Header().Set("Content-Type", plainType)
	if s.o.Healthcheck != nil {
		if err := s.o.Healthcheck(); err != nil {
			e.WriteHeader(http.StatusServiceUnavailable)
			_, _ = io.WriteString(e, fault.Public(err))
			return nil
		}
	}
	_, _ = io.WriteString(e, "OK")
	return nil
}
