package outside

import (
	"net/netip"
	"net/url"
	"strings"
	"testing"
)

// FuzzCheck looks for URLs that are accepted although programs could disagree on where they lead, and for secrets that
// survive in what is kept of a URL.
func FuzzCheck(f *testing.F) {
	for _, uri := range []string{
		"http://example.org/x", "https://u:p@example.org:443/?q#f", "http://0x7f.1/", "http://[::ffff:127.0.0.1]/", "http://8.8.8.8/", "http://a.0x7f/",
		"http://example.org%2f@127.0.0.1/", "http://127.0.0.1#@example.org/", "http://example.org\\.x/", "http://1.example.org/", "http://[64:ff9b::808:808]/",
	} {
		f.Add(uri)
	}
	strict, err := newFilter(Options{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, uri string) {
		if kept, err := url.Parse(Harmless(uri)); err == nil && (kept.User != nil || kept.RawQuery != "" || kept.Fragment != "") {
			t.Errorf("%q: %q is kept", uri, Harmless(uri))
		}
		if strict.check(uri) != nil {
			return
		}
		u, err := url.Parse(uri)
		if err != nil {
			t.Fatalf("%q is accepted and no URL: %v", uri, err)
		}
		name := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
		if a, err := netip.ParseAddr(name); err == nil {
			if !strict.networks.allows(a) || a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() || a.IsMulticast() || a.Zone() != "" {
				t.Errorf("%q leads inside", uri)
			}
			return
		}
		last := name[strings.LastIndexByte(name, '.')+1:]
		if strings.Trim(last, "0123456789") == "" || strings.HasPrefix(last, "0x") && strings.Trim(last[2:], "0123456789abcdef") == "" {
			t.Errorf("%q ends in a number, which some take for an address", uri)
		}
		if strings.ContainsAny(name, "%@/\\#?: \t\r\n") || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-._") != "" {
			t.Errorf("%q: host %q", uri, name)
		}
	})
}

// FuzzAddress looks for addresses inside of others that are allowed although they are refused by themselves.
func FuzzAddress(f *testing.F) {
	f.Add([]byte{127, 0, 0, 1})
	f.Add([]byte{169, 254, 169, 254})
	f.Add([]byte{8, 8, 8, 8})
	strict, err := newTable(Options{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) != 4 {
			return
		}
		v4 := netip.AddrFrom4([4]byte(b))
		if (v4.IsPrivate() || v4.IsLoopback() || v4.IsLinkLocalUnicast() || v4.IsMulticast() || v4.IsUnspecified()) && strict.allows(v4) {
			t.Errorf("%s is allowed", v4)
		}
		want := strict.allows(v4)
		mapped, translated, tunnel := [16]byte{10: 0xff, 11: 0xff}, [16]byte{0, 0x64, 0xff, 0x9b}, [16]byte{0x20, 0x02}
		copy(mapped[12:], b)
		copy(translated[12:], b)
		copy(tunnel[2:], b)
		for _, a := range [][16]byte{mapped, translated, tunnel} {
			if got := strict.allows(netip.AddrFrom16(a)); got != want {
				t.Errorf("%s: %v, %s: %v", v4, want, netip.AddrFrom16(a), got)
			}
		}
	})
}
