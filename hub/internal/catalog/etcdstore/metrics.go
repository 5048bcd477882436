package etcdstore

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

// metrics counts what a store does.
type metrics struct {
	registry   prometheus.Registerer
	registered []prometheus.Collector

	commits    *prometheus.CounterVec
	seconds    prometheus.Histogram
	lists      *prometheus.CounterVec
	unreadable prometheus.Counter

	seen     atomic.Int64 // when etcd last gave a sign of life, in nanoseconds
	database atomic.Int64 // bytes
}

func newMetrics(registry prometheus.Registerer, s *Store) (*metrics, error) {
	m := &metrics{
		registry: registry,
		commits: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "atoll_catalog_commits_total", Help: "Commits by result: ok, not_leader, or the class of the failure.",
		}, []string{"result"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "atoll_catalog_commit_seconds", Help: "How long commits took until this hub saw them.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 20},
		}),
		lists: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "atoll_catalog_lists_total", Help: "Lists of all records, by why they were needed.",
		}, []string{"reason"}),
		unreadable: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "atoll_catalog_unreadable_records_total", Help: "Records that were written by somebody and cannot be read.",
		}),
	}
	m.sawStore()
	all := []prometheus.Collector{
		m.commits, m.seconds, m.lists, m.unreadable,
		recordCount{s},
		gauge("atoll_catalog_cache_age_seconds", "Time since etcd last gave a sign of life.", func() float64 {
			return time.Since(time.Unix(0, m.seen.Load())).Seconds()
		}),
		gauge("atoll_catalog_database_bytes", "Size of etcd's database, 0 while not known.", func() float64 {
			return float64(m.database.Load())
		}),
		gauge("atoll_catalog_leader", "1 while this hub leads.", func() float64 {
			if t := s.term.Load(); t == nil || t.isLost() {
				return 0
			}
			return 1
		}),
	}
	if registry == nil {
		return m, nil
	}
	for _, c := range all {
		if err := registry.Register(c); err != nil {
			m.unregister()
			return nil, err
		}
		m.registered = append(m.registered, c)
	}
	return m, nil
}

func gauge(name, help string, f func() float64) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, f)
}

func (m *metrics) unregister() {
	for _, c := range m.registered {
		m.registry.Unregister(c)
	}
}

func (m *metrics) sawStore() { m.seen.Store(time.Now().UnixNano()) }

func (m *metrics) committed(err error, took time.Duration) {
	m.commits.WithLabelValues(result(err)).Inc()
	m.seconds.Observe(took.Seconds())
}

func result(err error) string {
	switch {
	case err == nil:
		return "ok"
	case fault.ReasonOf(err) == "NOT_LEADER":
		return "not_leader"
	}
	return fault.ClassOf(err).String()
}

// recordCount collects the number of records.
type recordCount struct{ store *Store }

var recordsDesc = prometheus.NewDesc("atoll_catalog_records", "Records in the cache.", []string{"kind"}, nil)

// Describe implements prometheus.Collector.
func (r recordCount) Describe(ch chan<- *prometheus.Desc) { ch <- recordsDesc }

// Collect implements prometheus.Collector.
func (r recordCount) Collect(ch chan<- prometheus.Metric) {
	counts := r.store.cache.count()
	for kind, folder := range folders {
		ch <- prometheus.MustNewConstMetric(recordsDesc, prometheus.GaugeValue, float64(counts[kind]), folder)
	}
}

// fullAt is the share of etcd's quota at which operators are warned. At the quota all writes stop.
const fullAt = 0.6

// observe looks at the size of the database from time to time until ctx ends.
func (s *Store) observe(ctx context.Context) {
	tick := time.NewTicker(s.timing.observe)
	defer tick.Stop()
	for warned := false; ; {
		used, quota := s.size(ctx)
		full := quota > 0 && float64(used) > fullAt*float64(quota)
		if full && !warned {
			s.log.Warn("the store of records is filling up; writes stop at the quota", "used_bytes", used, "quota_bytes", quota)
		}
		warned = full
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// size asks the members one after the other until one answers. etcd before 3.6 does not tell its quota: 0.
func (s *Store) size(ctx context.Context) (used, quota int64) {
	for _, endpoint := range s.client.Endpoints() {
		ctx, cancel := context.WithTimeout(ctx, s.timing.request)
		status, err := s.client.Status(ctx, endpoint)
		cancel()
		if err == nil {
			s.metrics.database.Store(status.DbSize)
			return status.DbSizeInUse, status.DbSizeQuota
		}
		s.log.Debug("asking etcd for its size failed", "error", err)
	}
	return 0, 0
}
