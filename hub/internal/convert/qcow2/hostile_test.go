package qcow2

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/atoll-dcn/atoll/hub/internal/convert"
	"github.com/atoll-dcn/atoll/pkg/fault"
)

const mostTest = 64 << 20 // bytes of disk that these tests allow

// extension is an extension of the header.
func extension(kind uint32, p []byte) []byte {
	return append(be64(uint64(kind)<<32|uint64(len(p))), append(p, make([]byte, -len(p)&7)...)...)
}

// Images that no import may have are refused when they are opened, with a reason and a text that hold nothing of their contents.
func TestRefusedWhenOpened(t *testing.T) {
	t.Parallel()
	disk := func() *made { return small(32<<10, 1024).table(1024, 1536).put(1536, noise(512, 1)) }
	tests := map[string]struct {
		image  *made
		reason string
		says   string
	}{
		"CVE-2015-5163 backing file": {
			disk().with(func(m *made) { m.backing = 200 }).put(200, []byte("/etc/passwd")), convert.ReasonUnsafe, "backing file",
		},
		"CVE-2024-32498 data file": {disk().with(func(m *made) { m.features = featureDataFile }), convert.ReasonUnsafe, "another file"},
		"data file named, bit not set": {
			disk().with(func(m *made) { m.extensions = extension(extensionDataFile, []byte("/etc/passwd")) }), convert.ReasonUnsafe, "names a file",
		},
		"data file behind other extensions": {
			disk().with(func(m *made) {
				m.extensions = slices.Concat(extension(0xe2792aca, []byte("raw")), extension(1, nil), extension(extensionDataFile, []byte("/dev/sda")))
			}), convert.ReasonUnsafe, "names a file",
		},
		"encrypted AES":  {disk().with(func(m *made) { m.crypt = 1 }), convert.ReasonUnsafe, "encrypted"},
		"encrypted LUKS": {disk().with(func(m *made) { m.crypt = 2 }), convert.ReasonUnsafe, "encrypted"},
		"header of encryption": {
			disk().with(func(m *made) { m.extensions = extension(extensionCrypto, make([]byte, 16)) }), convert.ReasonUnsafe, "encrypted",
		},
		"unknown feature":          {disk().with(func(m *made) { m.features = 1 << 5 }), convert.ReasonUnsafe, "bit 5"},
		"last feature":             {disk().with(func(m *made) { m.features = 1<<63 | featureDirty }), convert.ReasonUnsafe, "bit 63"},
		"corrupt":                  {disk().with(func(m *made) { m.features = featureCorrupt }), convert.ReasonDamaged, "corrupt"},
		"version 1":                {disk().with(func(m *made) { m.version = 1 }), convert.ReasonUnsafe, "version 1"},
		"version 4":                {disk().with(func(m *made) { m.version = 4 }), convert.ReasonUnsafe, "version 4"},
		"clusters too small":       {disk().with(func(m *made) { m.bits = 8 }), convert.ReasonDamaged, "cluster size"},
		"clusters too large":       {disk().with(func(m *made) { m.bits = 22 }), convert.ReasonDamaged, "cluster size"},
		"clusters far too large":   {disk().with(func(m *made) { m.bits = 1<<32 - 1 }), convert.ReasonDamaged, "cluster size"},
		"extended, small clusters": {disk().with(func(m *made) { m.features = featureExtended }), convert.ReasonDamaged, "extended"},
		"header too short":         {disk().with(func(m *made) { m.length = 96 }), convert.ReasonDamaged, "length of its header"},
		"header odd":               {disk().with(func(m *made) { m.length = 105 }), convert.ReasonDamaged, "length of its header"},
		"header over a cluster":    {disk().with(func(m *made) { m.length = 520 }), convert.ReasonDamaged, "length of its header"},
		"header endless":           {disk().with(func(m *made) { m.length = 1<<32 - 8 }), convert.ReasonDamaged, "length of its header"},
		"compression unknown": {
			disk().with(func(m *made) { m.length, m.compression, m.features = 112, 2, featureCompression }), convert.ReasonUnsafe, "compression",
		},
		"compression not said":  {disk().with(func(m *made) { m.length, m.compression = 112, 1 }), convert.ReasonUnsafe, "compression"},
		"compression not there": {disk().with(func(m *made) { m.features = featureCompression }), convert.ReasonUnsafe, "compression"},
		"extension over a cluster": {
			disk().with(func(m *made) { m.extensions = extension(7, make([]byte, 401)) }), convert.ReasonDamaged, "extension",
		},
		"extension endless": {disk().with(func(m *made) { m.extensions = be64(7<<32 | 0xffffffff) }), convert.ReasonDamaged, "extension"},
		"extensions without end": {
			small(512, 0).with(func(m *made) {
				m.bits, m.l1Offset, m.extensions = 20, 1<<20, bytes.Repeat(be64(7<<32), 9000)
			}), convert.ReasonUnsafe, "no end",
		},
		"larger than allowed":       {disk().with(func(m *made) { m.size = mostTest + 1 }), convert.ReasonTooLarge, "at most"},
		"larger than can be":        {disk().with(func(m *made) { m.size = 1 << 63 }), convert.ReasonTooLarge, "at most"},
		"largest":                   {disk().with(func(m *made) { m.size = 1<<64 - 1 }), convert.ReasonTooLarge, "at most"},
		"L1 table too small":        {disk().with(func(m *made) { m.size++ }), convert.ReasonDamaged, "L1 table"},
		"L1 table too large":        {disk().with(func(m *made) { m.l1Size = mostL1 + 1 }), convert.ReasonDamaged, "L1 table"},
		"L1 table in the header":    {disk().with(func(m *made) { m.l1Offset = 0 }), convert.ReasonDamaged, "L1 table"},
		"L1 table out of line":      {disk().with(func(m *made) { m.l1Offset = 520 }), convert.ReasonDamaged, "L1 table"},
		"L1 table out of reach":     {disk().with(func(m *made) { m.l1Offset = 1<<64 - 512 }), convert.ReasonDamaged, "L1 table"},
		"nothing":                   {disk().with(func(m *made) { m.cut = 3 }), convert.ReasonDamaged, "no header"},
		"cut in the header":         {disk().with(func(m *made) { m.cut = 71 }), convert.ReasonDamaged, "no header"},
		"cut in what version 3 has": {disk().with(func(m *made) { m.cut = 103 }), convert.ReasonDamaged, "header"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Open(source(test.image.bytes()), mostTest)
			class := fault.Invalid
			if test.reason == convert.ReasonTooLarge {
				class = fault.Exhausted
			}
			if fault.ReasonOf(err) != test.reason || !fault.Is(err, class) || !strings.Contains(fault.Public(err), test.says) {
				t.Fatalf("%v (%s), want %s with %q", err, fault.ReasonOf(err), test.reason, test.says)
			}
			if strings.Contains(fault.Public(err), "/") {
				t.Errorf("the text %q names a file", fault.Public(err))
			}
		})
	}
}

// Images whose tables lie are refused where the lie is, and nothing is made up for what is not there.
func TestDamaged(t *testing.T) {
	t.Parallel()
	large := func() *made {
		return &made{version: 3, bits: 14, length: 104, features: featureExtended, size: 32 << 10, l1Offset: 1 << 14, l1: []uint64{2 << 14}}
	}
	data := noise(512, 1)
	pack := deflated(text(512, 1))
	tests := map[string]struct {
		image *made
		says  string
	}{
		"L1 table beyond the data":  {small(32<<10, 1024).with(func(m *made) { m.l1Offset = 1 << 40 }), "ends within its L1 table"},
		"L1 table cut":              {small(1<<20, repeat(32, 0)...).with(func(m *made) { m.cut = 512 + 255 }), "ends within its L1 table"},
		"L2 table beyond the data":  {small(32<<10, 1<<40), "ends within its L2 table"},
		"L2 table cut":              {small(32<<10, 1024).with(func(m *made) { m.cut = 1024 + 511 }), "ends within its L2 table"},
		"L2 table out of line":      {large().with(func(m *made) { m.l1[0] = 2<<14 + 512 }), "L2 table is not where"},
		"cluster out of line":       {large().table(2<<14, 3<<14+512, 1), "cluster is not where"},
		"cluster beyond the data":   {small(512, 1024).table(1024, 1<<40).put(1536, data), "the data ends"},
		"cluster at the end":        {small(512, 1024).table(1024, 1536), "the data ends"},
		"second cluster at the end": {small(1024, 1024).table(1024, 1536, 2048).put(1536, data), "the data ends"},
		"cluster of half a sector":  {small(512, 1024).table(1024, 1536).with(func(m *made) { m.cut = 1536 + 511 }), "the data ends"},
		"zero in version 2":         {small(512, 1024).table(1024, 1).with(func(m *made) { m.version = 2 }), "version 2"},
		"bitmap contradicts itself": {large().table(2<<14, 3<<14, 1<<32|1).put(3<<14, make([]byte, 1<<14)), "contradicts"},
		"bitmap without a cluster":  {large().table(2<<14, 0, 1<<31), "contradicts"},
		"second bitmap":             {large().table(2<<14, 0, 0, 0, 1<<31), "contradicts"},
		"subclusters behind half a sector": {
			large().table(2<<14, 3<<14, 1<<31).with(func(m *made) { m.cut = 3<<14 + 1000 }), "the data ends",
		},
		"subclusters beyond":     {large().table(2<<14, 9<<14, 1<<31), "the data ends"},
		"packed beyond the data": {small(512, 1024).table(1024, packedAt(9, 1<<40, 20)), "unpacked"},
		"packed out of reach":    {small(512, 1024).table(1024, flagCompressed|1<<57), "not where"},
		"packed is not": {
			small(512, 1024).table(1024, packedAt(9, 1536, 512)).put(1536, bytes.Repeat([]byte{0xff}, 512)), "unpacked",
		},
		"packed too short": {small(512, 1024).table(1024, packedAt(9, 1536, 512)).put(1536, deflated(make([]byte, 511))), "unpacked"},
		"packed cut": {
			small(512, 1024).table(1024, packedAt(9, 1536, 512)).put(1536, pack).with(func(m *made) { m.cut = 1506 + int64(len(pack)) }), "unpacked",
		},
		"packed is the header": {small(512, 1024).table(1024, packedAt(9, 0, 512)), "unpacked"},
		"zstd is deflate": {
			small(512, 1024).table(1024, packedAt(9, 1536, 512)).put(1536, pack).with(asZstd), "unpacked",
		},
		"zstd too short": {small(512, 1024).table(1024, packedAt(9, 1536, 512)).put(1536, frame(make([]byte, 511))).with(asZstd), "unpacked"},
		"zstd too long":  {small(512, 1024).table(1024, packedAt(9, 1536, 512)).put(1536, frame(make([]byte, 513))).with(asZstd), "unpacked"},
		"zstd bomb": {
			small(512, 1024).table(1024, packedAt(9, 1536, 512)).put(1536, frame(make([]byte, 10<<20))[:500]).with(asZstd), "unpacked",
		},
		"zstd skippable frames": {
			small(512, 1024).table(1024, packedAt(9, 1536, 512)).
				put(1536, bytes.Repeat([]byte{0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0}, 64)).with(asZstd), "unpacked",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := read(t.Context(), source(test.image.bytes()), mostTest)
			if fault.ReasonOf(err) != convert.ReasonDamaged || !fault.Is(err, fault.Invalid) || !strings.Contains(fault.Public(err), test.says) {
				t.Fatalf("%v (%s), want %q", err, fault.ReasonOf(err), test.says)
			}
		})
	}
}

// asZstd makes the compression of an image zstd.
func asZstd(m *made) { m.length, m.features, m.compression = 112, m.features|featureCompression, 1 }

// Images that look odd but are within the rules are read.
func TestOddButGood(t *testing.T) {
	t.Parallel()
	data, words := noise(512, 1), text(512, 2)
	pack := deflated(words)
	zero := make([]byte, 512)
	tests := map[string]struct {
		image *made
		want  []byte
	}{
		"no disk":   {small(0), nil},
		"version 2": {small(512, 1024).table(1024, 1536).put(1536, data).with(func(m *made) { m.version = 2 }), data},
		"one byte":  {small(1, 1024).table(1024, 1536).put(1536, data), data[:1]},
		"one byte more": {
			small(513, 1024).table(1024, 1536, 2048).put(1536, slices.Concat(data, words)), append(slices.Clone(data), words[0]),
		},
		"dirty":                {small(512, 1024).table(1024, 1536).put(1536, data).with(func(m *made) { m.features = featureDirty }), data},
		"reserved bits":        {small(512, 1024|0x7f<<56|0x1ff).table(1024, 1536|3<<56|0x1fe).put(1536, data), data},
		"marked as its own":    {small(512, 1024|1<<63).table(1024, 1536|1<<63).put(1536, data), data},
		"zero with a cluster":  {small(512, 1024).table(1024, 1537).put(1536, data), zero},
		"zero":                 {small(512, 1024).table(1024, 1), zero},
		"nothing but one bit":  {small(512, 1024).table(1024, 1<<63), zero},
		"table is a cluster":   {small(512, 1024).table(1024, 1024), append(be64(1024), zero[8:]...)},
		"L1 table is L2 table": {small(1024, 512, 0), append(append(be64(512), zero[8:]...), zero...)},
		"one cluster for all": {
			small(32<<10, 1024).table(1024, repeat(64, 1536)...).put(1536, data), bytes.Repeat(data, 64),
		},
		"one table for all": {
			small(64<<10, 1024, 1024).table(1024, repeat(64, 1536)...).put(1536, data), bytes.Repeat(data, 128),
		},
		"one packed cluster for all": {
			small(32<<10, 1024).table(1024, repeat(64, packedAt(9, 1600, int64(len(pack))))...).put(1600, pack), bytes.Repeat(words, 64),
		},
		"two packed clusters in turn": {
			small(1536, 1024).table(1024, packedAt(9, 3072, int64(len(pack))), packedAt(9, 1536, 1024), packedAt(9, 3072, 512)).
				put(1536, deflated(data)).put(3072, pack), slices.Concat(words, data, words),
		},
		"packed ends with the data": {
			small(512, 1024).table(1024, packedAt(9, 1536, 1024)).put(1536, pack).with(func(m *made) { m.cut = 1536 + int64(len(pack)) }), words,
		},
		"packed stream has no end": {
			small(512, 1024).table(1024, packedAt(9, 1536, 512)).put(1536, deflated(append(slices.Clone(words), zero...))), words,
		},
		"packed, one byte of it": {small(1, 1024).table(1024, packedAt(9, 1536, 512)).put(1536, pack), words[:1]},
		"zstd":                   {small(512, 1024).table(1024, packedAt(9, 1537, 1023)).put(1537, frame(words)).with(asZstd), words},
		"zstd of two frames": {
			small(512, 1024).table(1024, packedAt(9, 1536, 1024)).put(1536, slices.Concat(frame(words[:9]), frame(words[9:]))).with(asZstd), words,
		},
		"zstd of zeroes": {small(512, 1024).table(1024, packedAt(9, 1536, 512)).put(1536, frame(zero)).with(asZstd), zero},
		"zstd with more after it": {
			small(512, 1024).table(1024, packedAt(9, 1536, 1024)).put(1536, slices.Concat(frame(words), data)).with(asZstd), words,
		},
		"subclusters behind the data": {
			(&made{version: 3, bits: 14, length: 104, features: featureExtended, size: 1 << 14, l1Offset: 1 << 14, l1: []uint64{2 << 14}}).
				table(2<<14, 3<<14, 0xa5).put(3<<14, data).with(func(m *made) { m.cut = 3<<14 + 512 }),
			append(slices.Clone(data), make([]byte, 1<<14-512)...),
		},
		"short L2 table":        {small(512, 1024).table(1024, 512).with(func(m *made) { m.cut = 1032 }), append(be64(1024), zero[8:]...)},
		"extensions to the end": {small(512, 0).with(func(m *made) { m.extensions = extension(7, make([]byte, 400)) }), zero},
		"long header":           {small(512, 0).with(func(m *made) { m.length = 512; m.l1Offset = 1024 }), zero},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, err := read(t.Context(), source(test.image.bytes()), mostTest)
			if err != nil {
				t.Fatal(err)
			}
			same(t, d.Bytes(), test.want)
		})
	}
}
