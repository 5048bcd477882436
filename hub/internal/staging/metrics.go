package staging

import "github.com/prometheus/client_golang/prometheus"

// Why frames are removed, as label values.
const (
	causeSpace     = "space"
	causeRetention = "retention"
	causeDamaged   = "damaged"
	causeForgotten = "forgotten"
)

type metrics struct {
	removed  *prometheus.CounterVec
	waits    prometheus.Counter
	corrupt  prometheus.Counter
	damaged  prometheus.Counter
	demanded prometheus.Counter
	appended prometheus.Counter
	offered  prometheus.Counter
	served   prometheus.Counter
}

func newMetrics() metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "atoll_staging_" + name, Help: help})
	}
	return metrics{
		removed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "atoll_staging_frames_removed_total", Help: "Frames removed, by cause.",
		}, []string{"cause"}),
		waits:    counter("space_waits_total", "Times an import had to wait for space."),
		corrupt:  counter("corrupt_puts_total", "Frames refused because they differ from the manifest."),
		damaged:  counter("damaged_frames_total", "Frames on disk found to differ from the manifest."),
		demanded: counter("demands_total", "Chunks that readers had to wait for."),
		appended: counter("appended_bytes_total", "Bytes of imports that are not zero."),
		offered:  counter("offered_bytes_total", "Bytes of frames received from offering agents."),
		served:   counter("served_bytes_total", "Bytes of frames read to their end."),
	}
}

// register makes the figures of an area visible. r may be nil.
func (m *metrics) register(r prometheus.Registerer, a *Area) {
	if r == nil {
		return
	}
	gauge := func(name, help string, value func() int64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "atoll_staging_" + name, Help: help}, func() float64 {
			a.mu.Lock()
			defer a.mu.Unlock()
			return float64(value())
		})
	}
	r.MustRegister(
		m.removed, m.waits, m.corrupt, m.damaged, m.demanded, m.appended, m.offered, m.served,
		gauge("limit_bytes", "Most bytes that frames may take.", func() int64 { return a.o.Limit }),
		gauge("used_bytes", "Bytes that frames take.", func() int64 { return a.used }),
		gauge("contents", "Contents known.", func() int64 { return int64(len(a.contents)) }),
		gauge("frames", "Frames on disk.", func() int64 {
			n := 0
			for _, c := range a.contents {
				n += len(c.frames)
			}
			return int64(n)
		}),
	)
}
