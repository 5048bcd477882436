package outside

import (
	"strings"
	"testing"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		o         Options
		good, bad []string
	}{
		"default": {
			Options{},
			[]string{
				"http://example.org/x", "https://example.org", "https://example.org:443/", "http://example.org:80/", "HTTPS://EXAMPLE.ORG./x", "http://8.8.8.8/",
				"http://[2606:4700:4700::1111]/", "https://user:secret@example.org/?token=1", "http://a_b.example.org/", "http://xn--mnchen-3ya.de/", "https://443.de/",
			},
			[]string{
				"", "example.org/x", "//example.org/x", "http:example.org", "http:///x", "http://", "http://:80/", "ftp://example.org/x", "file:///etc/passwd",
				"file://example.org/etc/passwd", "gopher://example.org/", "rbd://a/b/c/d", "javascript:x", "https://example.org:22/", "http://example.org:9292/",
				"https://example.org:0/", "https://example.org:65536/", "https://example.org:+443/", "http://a b/", "http://münchen.de/", "http://example.org\\@x/",
				"http://..../", "http://-a.example/", "http://[fe80::1%25eth0]/", "http://%31%32%37.0.0.1/", "http://１２７.0.0.1/",
				"http://" + strings.Repeat("a", 64) + ".de/", "http://" + strings.Repeat("a.", 130) + "de/", "https://example.org/" + strings.Repeat("x", maxURI),
			},
		},
		"allowed hosts": {
			Options{AllowHosts: []string{"mirror.example.org", "*.debian.org", "8.8.8.8"}},
			[]string{
				"http://mirror.example.org/", "http://MIRROR.example.org./", "http://cloud.debian.org/", "http://a.b.debian.org/",
				"http://8.8.8.8/",
			},
			[]string{"http://debian.org/", "http://xdebian.org/", "http://example.org/", "http://mirror.example.org.evil.com/", "http://8.8.4.4/"},
		},
		"denied hosts": {
			Options{DenyHosts: []string{"example.org", "*.corp", "2606:4700:4700::1111"}},
			[]string{"http://www.example.org/"},
			[]string{"http://example.org/", "http://a.corp/", "http://[2606:4700:4700:0:0:0:0:1111]/"},
		},
		"denied wins": {
			Options{AllowHosts: []string{"*.debian.org"}, DenyHosts: []string{"old.debian.org"}},
			[]string{"http://new.debian.org/"},
			[]string{"http://old.debian.org/"},
		},
		"schemes":        {Options{AllowSchemes: []string{"https"}}, []string{"https://example.org/"}, []string{"http://example.org/"}},
		"denied schemes": {Options{DenySchemes: []string{"http"}}, []string{"https://example.org/"}, []string{"http://example.org/"}},
		"ports": {
			Options{AllowPorts: []string{"443", "8000-8999"}, DenyPorts: []string{"8080"}},
			[]string{"https://example.org/", "http://example.org:8000/", "http://example.org:8999/"},
			[]string{"http://example.org/", "http://example.org:8080/", "http://example.org:9000/"},
		},
		"the operator": {
			Options{Operator: true},
			[]string{"http://127.0.0.1:8080/x", "http://[::1]:1/", "http://localhost:9999/", "http://10.0.0.1:5000/"},
			[]string{"file:///etc/passwd", "http://169.254.169.254/"},
		},
		"listed network": {
			Options{AllowNetworks: []string{"10.0.0.0/8"}},
			[]string{"http://10.0.0.1/"},
			[]string{"http://192.168.0.1/", "http://10.0.0.1:8080/"},
		},
		"regions of a cloud": {
			Options{AllowHosts: []string{"x.org"}, DenySchemes: []string{"http"}}.ForRegions(),
			[]string{"http://10.0.0.1:9292/v2"},
			[]string{"http://127.0.0.1:9292/v2"},
		},
	} {
		f, err := newFilter(c.o)
		if err != nil {
			t.Fatal(name, err)
		}
		for _, uri := range c.good {
			if err := f.check(uri); err != nil {
				t.Errorf("%s: %q: %v", name, uri, err)
			}
		}
		for _, uri := range c.bad {
			if err := f.check(uri); !fault.Is(err, fault.Invalid) {
				t.Errorf("%s: %q: got %v", name, uri, err)
			}
		}
	}
}

// Row 23: an address that is not written as addresses are is refused, because programs differ in what they make of it; one
// that is, is judged by what it stands for.
func TestRow23EncodedAddresses(t *testing.T) {
	t.Parallel()
	c, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{
		"0x7f000001", "0x7F.0.0.1", "0x7f.1", "2130706433", "017700000001", "0177.1", "0177.0.0.1", "127.1", "127.0.1", "127.0.0.1", "127.000.000.001", "127.0.0.1.",
		"2852039166", "0xa9fea9fe", "169.254.43518", "0251.0376.0251.0376", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[0:0:0:0:0:ffff:7f00:0001]", "[::127.0.0.1]",
		"[::1]", "[::]", "[64:ff9b::7f00:1]", "[2002:7f00:0001::]", "[fe80::1]", "0", "0.0.0.0", "0x0", "1", "256.256.256.256", "1.2.3.4.5", "0x", "1.0x", "[127.0.0.1",
		"[127.0.0.1]x", "①②⑦.⓪.⓪.①", "127。0。0。1", "localhost%00.example.org",
	} {
		for _, uri := range []string{"http://" + host + "/", "http://user@" + host + ":80/latest", "https://" + host} {
			if err := c.Check(uri); !fault.Is(err, fault.Invalid) {
				t.Errorf("%q: got %v", uri, err)
			}
		}
	}
}
