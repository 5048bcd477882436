package sandbox

import (
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
)

func TestOpen(t *testing.T) {
	s, err := Open(t.Context(), "/usr/bin/qemu-img", []string{"--version"}, "", Limits{Memory: 1 << 30, CPU: 10 * time.Second}, hclog.New(&hclog.LoggerOptions{Level: hclog.Debug}))
	if err != nil {
		t.Fatal(err)
	}
	t.Log(s.cell.protections())
}
