package embedded

import (
	"bytes"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/zap"
)

func TestBridge(t *testing.T) {
	var (
		out   bytes.Buffer
		quiet atomic.Bool
	)
	log := bridge(hclog.New(&hclog.LoggerOptions{Output: &out, DisableTime: true}), &quiet).With(zap.Int("member", 1))
	tests := []struct {
		name string
		log  func()
		want []string
	}{
		{"information", func() { log.Info("starting") }, nil},
		{"warning", func() { log.Warn("slow disk", zap.String("took", "2s")) }, []string{"[WARN]", "slow disk", "took:2s", "member:1"}},
		{"error", func() { log.Error("broken", zap.Error(errors.New("why"))) }, []string{"[ERROR]", "broken", "why"}},
		{"expected", func() { log.Warn(expected[0] + ". And so on.") }, nil},
		{"closing", func() { quiet.Store(true); log.Error("listener closed") }, nil},
	}
	for _, tt := range tests {
		out.Reset()
		tt.log()
		if len(tt.want) == 0 && out.Len() > 0 {
			t.Errorf("%s: logged %q", tt.name, out.String())
		}
		for _, want := range tt.want {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%s: got %q without %q", tt.name, out.String(), want)
			}
		}
	}
	bridge(nil, &quiet).Error("to nowhere")
}
