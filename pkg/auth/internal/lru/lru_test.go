package lru

import "testing"

func TestLeastRecentlyUsedGoes(t *testing.T) {
	c := New[string, int](2)
	c.Put("a", 1)
	c.Put("b", 2)
	c.Get("a")
	c.Put("c", 3)
	if _, ok := c.Get("b"); ok {
		t.Error("b is still there, though a was used after it")
	}
	for key, want := range map[string]int{"a": 1, "c": 3} {
		if got, ok := c.Get(key); !ok || got != want {
			t.Errorf("%s = %d, %v, want %d", key, got, ok, want)
		}
	}
	if c.Len() != 2 {
		t.Errorf("%d values, want 2", c.Len())
	}
}

func TestPutReplacesAndRemoveDrops(t *testing.T) {
	c := New[int, string](3)
	c.Put(1, "old")
	c.Put(1, "new")
	if got, _ := c.Get(1); got != "new" || c.Len() != 1 {
		t.Errorf("got %q of %d values, want the new one alone", got, c.Len())
	}
	c.Remove(1)
	c.Remove(1)
	if _, ok := c.Get(1); ok || c.Len() != 0 {
		t.Error("a removed value is still there")
	}
}
