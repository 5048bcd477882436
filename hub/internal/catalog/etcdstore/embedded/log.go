package embedded

import (
	"slices"
	"strings"
	"sync/atomic"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// core carries etcd's own log, from warnings up, over to the hub's.
type core struct {
	log    hclog.Logger
	quiet  *atomic.Bool // set while closing: every listener that closes is an error to etcd
	fields []zapcore.Field
}

// bridge returns a logger for etcd that writes to log, or to nowhere when log is nil.
func bridge(log hclog.Logger, quiet *atomic.Bool) *zap.Logger {
	if log == nil {
		return zap.NewNop()
	}
	return zap.New(&core{log: log, quiet: quiet})
}

// Enabled implements zapcore.Core.
func (c *core) Enabled(l zapcore.Level) bool { return l >= zapcore.WarnLevel && !c.quiet.Load() }

// With implements zapcore.Core.
func (c *core) With(fields []zapcore.Field) zapcore.Core {
	return &core{log: c.log, quiet: c.quiet, fields: append(slices.Clip(c.fields), fields...)}
}

// expected are warnings about how this package sets etcd up on purpose: reached by a unix socket only, without peers.
var expected = []string{
	"Running http and grpc server on single port",
	"serving client traffic insecurely",
	"simple token is not cryptographically signed",
}

// Check implements zapcore.Core.
func (c *core) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	known := slices.ContainsFunc(expected, func(s string) bool { return strings.HasPrefix(e.Message, s) })
	if !c.Enabled(e.Level) || known {
		return ce
	}
	return ce.AddCore(e, c)
}

// Write implements zapcore.Core.
func (c *core) Write(e zapcore.Entry, fields []zapcore.Field) error {
	enc := zapcore.NewMapObjectEncoder()
	for _, f := range append(slices.Clip(c.fields), fields...) {
		f.AddTo(enc)
	}
	log := c.log.Warn
	if e.Level >= zapcore.ErrorLevel {
		log = c.log.Error
	}
	log("etcd reports a problem", "problem", e.Message, "details", enc.Fields)
	return nil
}

// Sync implements zapcore.Core.
func (c *core) Sync() error { return nil }
