package telemetry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestLoggerLevels(t *testing.T) {
	for _, level := range []string{"trace", "debug", "info", "warn", "error"} {
		if _, err := NewLogger(io.Discard, LogOptions{Name: "test", Level: level}); err != nil {
			t.Errorf("%s: %v", level, err)
		}
	}
	for _, level := range []string{"", "loud", "9"} {
		_, err := NewLogger(io.Discard, LogOptions{Name: "test", Level: level})
		if e, ok := fault.As(err); !ok || len(e.Fields) != 1 || e.Fields[0].Name != "log-level" {
			t.Errorf("%q: got %v, want an error about log-level", level, err)
		}
	}
}

func TestLoggerWritesJSONFromItsLevelUp(t *testing.T) {
	var b bytes.Buffer
	log, err := NewLogger(&b, LogOptions{Name: "atoll-hub", Level: "warn", JSON: true})
	if err != nil {
		t.Fatal(err)
	}
	log.Info("hidden", "site", "dcn0")
	log.Named("session").Warn("shown", "site", "dcn1")
	var line map[string]any
	if err := json.Unmarshal(b.Bytes(), &line); err != nil {
		t.Fatalf("%v in %q", err, b.String())
	}
	want := map[string]string{"@message": "shown", "@module": "atoll-hub.session", "@level": "warn", "site": "dcn1"}
	for k, v := range want {
		if line[k] != v {
			t.Errorf("%s is %v, want %q", k, line[k], v)
		}
	}
}

func TestServe(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var sick atomic.Bool
	health := func() (string, error) {
		if sick.Load() {
			return "", fault.Wrap(errors.New("dial 10.0.0.7: refused"), fault.Unavailable, "STORE_UNREACHABLE", "the catalog does not answer")
		}
		return "ok", nil
	}
	registry := NewRegistry()
	counter := prometheus.NewCounter(prometheus.CounterOpts{Name: "atoll_test_total", Help: "For this test."})
	registry.MustRegister(counter)
	counter.Add(3)

	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() { result <- Serve(ctx, l, registry, health) }()
	transport := &http.Transport{}
	client := &http.Client{Transport: transport}
	base := "http://" + l.Addr().String()

	if code, body := get(t, client, base+"/healthz"); code != http.StatusOK || body != "ok\n" {
		t.Errorf("healthy: %d %q", code, body)
	}
	sick.Store(true)
	if code, body := get(t, client, base+"/healthz"); code != http.StatusServiceUnavailable || body != "the catalog does not answer\n" {
		t.Errorf("sick: %d %q; the cause must not be shown", code, body)
	}
	code, body := get(t, client, base+"/metrics")
	for _, want := range []string{"atoll_test_total 3", "go_goroutines", "process_resident_memory_bytes"} {
		if code != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("metrics: %d, no %s", code, want)
		}
	}
	if code, _ := get(t, client, base+"/debug/pprof/"); code != http.StatusNotFound {
		t.Errorf("an unknown path answers %d", code)
	}

	transport.CloseIdleConnections()
	cancel()
	if err := <-result; err != nil {
		t.Errorf("Serve: %v", err)
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the listener is still open: %v", err)
	}
}

func TestServeReportsABrokenListener(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	if err := Serve(t.Context(), l, NewRegistry(), func() (string, error) { return "ok", nil }); err == nil {
		t.Error("no error")
	}
}

func get(t *testing.T, client *http.Client, url string) (int, string) {
	t.Helper()
	r, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Body.Close() }()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(body)
}
