// Package lru keeps the most recently used values, up to a number.
package lru

import "container/list"

// Cache is a bounded map. It is not safe for concurrent use.
type Cache[K comparable, V any] struct {
	size  int
	order *list.List // of entry[K, V], most recently used first
	byKey map[K]*list.Element
}

type entry[K comparable, V any] struct {
	key   K
	value V
}

// New returns a cache for size values, at least one.
func New[K comparable, V any](size int) *Cache[K, V] {
	return &Cache[K, V]{size: max(size, 1), order: list.New(), byKey: make(map[K]*list.Element)}
}

// Get returns a value and makes it the most recently used.
func (c *Cache[K, V]) Get(key K) (V, bool) {
	if e, ok := c.byKey[key]; ok {
		c.order.MoveToFront(e)
		return e.Value.(entry[K, V]).value, true //nolint:errcheck // the list holds nothing else
	}
	var none V
	return none, false
}

// Put sets a value and drops the least recently used one if there are too many.
func (c *Cache[K, V]) Put(key K, value V) {
	if e, ok := c.byKey[key]; ok {
		e.Value = entry[K, V]{key, value}
		c.order.MoveToFront(e)
		return
	}
	if len(c.byKey) >= c.size {
		last := c.order.Back()
		delete(c.byKey, last.Value.(entry[K, V]).key) //nolint:errcheck // the list holds nothing else
		c.order.Remove(last)
	}
	c.byKey[key] = c.order.PushFront(entry[K, V]{key, value})
}

// Remove drops a value, if it is there.
func (c *Cache[K, V]) Remove(key K) {
	if e, ok := c.byKey[key]; ok {
		delete(c.byKey, key)
		c.order.Remove(e)
	}
}

// Len returns how many values there are.
func (c *Cache[K, V]) Len() int { return len(c.byKey) }
