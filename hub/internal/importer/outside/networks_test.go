package outside

import (
	"net/netip"
	"testing"
)

func TestNetworksOfTheInsideAreRefused(t *testing.T) {
	t.Parallel()
	strict, err := newTable(Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range []string{
		"127.0.0.1", "127.255.255.254", "::1", "0.0.0.0", "0.1.2.3", "::", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "fc00::1", "fdff::1",
		"169.254.169.254", "169.254.0.1", "fe80::1", "fe80::1%lo", "febf::1", "fec0::1", "fd00:ec2::254", "100.64.0.1", "100.100.100.200", "192.0.0.192",
		"168.63.129.16", "224.0.0.1", "239.255.255.255", "ff02::1", "ff0e::1", "255.255.255.255", "240.0.0.1", "192.0.2.1", "198.18.0.1", "198.51.100.1",
		"203.0.113.1", "192.88.99.1", "2001::1", "2001:db8::1", "3fff::1", "5f00::1", "100::1", "64:ff9b:1::1", "4000::1",
		// The same in other clothes: mapped, compatible, translated, NAT64, 6to4.
		"::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:10.0.0.1", "::127.0.0.1", "::ffff:0:127.0.0.1",
		"64:ff9b::127.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b::10.1.2.3", "2002:7f00:1::1", "2002:a00:1::", "2002:a9fe:a9fe::1",
	} {
		if strict.allows(netip.MustParseAddr(a)) {
			t.Errorf("%s is allowed", a)
		}
	}
	if strict.allows(netip.Addr{}) {
		t.Error("no address is allowed")
	}
	for _, a := range []string{
		"1.1.1.1", "8.8.8.8", "100.63.255.255", "100.128.0.1", "172.15.0.1", "172.32.0.1", "192.169.0.1", "2606:4700:4700::1111",
		"::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::1",
	} {
		if !strict.allows(netip.MustParseAddr(a)) {
			t.Errorf("%s is refused", a)
		}
	}
}

func TestLongestNetworkDecides(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		o             Options
		allowed, deny []string
	}{
		"a private network": {
			Options{AllowNetworks: []string{"10.1.0.0/16", "fd12::/16", "192.168.0.7"}},
			[]string{"10.1.2.3", "::ffff:10.1.2.3", "fd12::1", "192.168.0.7", "8.8.8.8"},
			[]string{"10.2.0.1", "fd13::1", "192.168.0.8", "127.0.0.1"},
		},
		"all does not open what is special": {
			Options{AllowNetworks: []string{"0.0.0.0/0", "::/0"}},
			[]string{"8.8.8.8"},
			[]string{"10.0.0.1", "127.0.0.1", "169.254.169.254", "fe80::1", "::1"},
		},
		"a network around metadata does not open it": {
			Options{AllowNetworks: []string{"169.254.0.0/16", "fc00::/7", "100.64.0.0/10"}},
			[]string{"169.254.1.1", "fd00::1", "100.64.0.1"},
			[]string{"169.254.169.254", "fd00:ec2::254", "100.100.100.200"},
		},
		"nothing but one": {
			Options{AllowNetworks: []string{"198.18.7.0/24"}, DenyNetworks: []string{"0.0.0.0/0", "::/0"}},
			[]string{"198.18.7.1"},
			[]string{"8.8.8.8", "2606:4700:4700::1111", "198.18.8.1"},
		},
		"a hole in what is allowed": {
			Options{AllowNetworks: []string{"10.0.0.0/8"}, DenyNetworks: []string{"10.9.0.0/16"}},
			[]string{"10.8.0.1"},
			[]string{"10.9.0.1", "64:ff9b::10.9.0.1"},
		},
		"both say the same network": {
			Options{AllowNetworks: []string{"10.0.0.0/8"}, DenyNetworks: []string{"10.0.0.0/8"}},
			nil,
			[]string{"10.0.0.1"},
		},
		"what no list opens": {
			Options{AllowNetworks: []string{"0.0.0.0/8", "224.0.0.0/4", "255.255.255.255", "ff00::/8"}},
			nil,
			[]string{"0.0.0.0", "224.0.0.1", "255.255.255.255", "ff02::1"},
		},
		"the operator": {
			Options{Operator: true},
			[]string{"127.0.0.1", "::1", "10.0.0.1", "8.8.8.8"},
			[]string{"169.254.169.254", "0.0.0.0", "fd00:ec2::254"},
		},
		"the operator with a list": {
			Options{Operator: true, AllowNetworks: []string{"10.0.0.0/8"}},
			[]string{"10.0.0.1"},
			[]string{"127.0.0.1", "192.168.0.1"},
		},
		"the operator denies": {
			Options{Operator: true, DenyNetworks: []string{"127.0.0.0/8"}},
			[]string{"10.0.0.1"},
			[]string{"127.0.0.1"},
		},
		"regions": {
			Options{}.ForRegions(),
			[]string{"10.0.0.1", "192.168.0.1", "8.8.8.8"},
			[]string{"127.0.0.1", "169.254.169.254", "fe80::1"},
		},
		"regions, where something is not": {Options{DenyNetworks: []string{"10.3.0.0/16"}}.ForRegions(), []string{"10.0.0.1"}, []string{"10.3.0.1"}},
	} {
		table, err := newTable(c.o)
		if err != nil {
			t.Fatal(name, err)
		}
		for want, list := range map[bool][]string{true: c.allowed, false: c.deny} {
			for _, a := range list {
				if table.allows(netip.MustParseAddr(a)) != want {
					t.Errorf("%s: %s: allowed is not %v", name, a, want)
				}
			}
		}
	}
}

func TestBadOptions(t *testing.T) {
	t.Parallel()
	for _, o := range []Options{
		{AllowNetworks: []string{"10.0.0.0/33"}},
		{AllowNetworks: []string{"10.0.0.1/8"}},
		{AllowNetworks: []string{"::ffff:10.0.0.0/104"}},
		{DenyNetworks: []string{"fe80::1%eth0"}},
		{DenyNetworks: []string{"inside"}},
		{AllowPorts: []string{"0"}},
		{AllowPorts: []string{"80-79"}},
		{DenyPorts: []string{"65536"}},
		{AllowSchemes: []string{"file"}},
		{DenySchemes: []string{"ftp"}},
		{AllowHosts: []string{"a b"}},
		{AllowHosts: []string{"http://example.org"}},
		{DenyHosts: []string{"*.127.0.0.1"}},
		{DenyHosts: []string{"0x7f000001"}},
		{CAFile: "/nowhere"},
		{CAFile: "networks_test.go"},
	} {
		if _, err := New(o); err == nil {
			t.Errorf("%+v is accepted", o)
		}
	}
}
