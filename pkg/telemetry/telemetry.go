// Package telemetry sets up the log and the metrics of a process.
package telemetry

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

// LogOptions says how to log.
type LogOptions struct {
	Name  string // process name, first part of every logger name
	Level string // trace, debug, info, warn or error
	JSON  bool   // one JSON object a line
}

// NewLogger returns the root logger of a process. Messages are constants; values travel as key-value pairs.
func NewLogger(w io.Writer, o LogOptions) (hclog.Logger, error) {
	level := hclog.LevelFromString(o.Level)
	if level == hclog.NoLevel {
		return nil, fault.BadField("log-level", "%q is not one of trace, debug, info, warn, error", o.Level)
	}
	return hclog.New(&hclog.LoggerOptions{
		Name: o.Name, Level: level, JSONFormat: o.JSON, Output: w, TimeFormat: "2006-01-02T15:04:05.000Z07:00",
	}), nil
}

// NewRegistry returns a metrics registry with the Go runtime's and the process's own figures.
func NewRegistry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// Serve answers GET /metrics and GET /healthz on l until ctx ends. health returns one word for what the process does, or an
// error while it does not do its work; either is shown. Serve closes l.
func Serve(ctx context.Context, l net.Listener, r *prometheus.Registry, health func() (string, error)) error {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(r, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		state, err := health()
		if err != nil {
			http.Error(w, fault.Public(err), http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(w, state+"\n")
	})
	s := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute}
	stop := context.AfterFunc(ctx, func() { _ = s.Close() })
	defer stop()
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
