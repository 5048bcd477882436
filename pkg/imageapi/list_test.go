package imageapi

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/atoll-dcn/atoll/pkg/auth"
	"github.com/atoll-dcn/atoll/pkg/policy"
)

// matrix has one image of each kind, all of project alpha unless said otherwise.
func matrix() []*Image {
	with := func(status string) func(*Image) {
		return func(i *Image) {
			i.Visibility, i.Members = Shared, []Member{{ProjectID: "gamma", Status: "rejected"}, {ProjectID: "beta", Status: status}}
		}
	}
	return []*Image{
		sample(1),
		sample(2, func(i *Image) { i.Visibility = Private }),
		sample(3, func(i *Image) { i.Visibility = Community }),
		sample(4, func(i *Image) { i.Visibility = Shared }),
		sample(5, with("pending")),
		sample(6, with("accepted")),
		sample(7, with("rejected")),
		sample(8, func(i *Image) { i.Visibility, i.Owner = Private, "" }),
		sample(9, func(i *Image) { i.Hidden = true }),
		sample(10, func(i *Image) { with("accepted")(i); i.Visibility = Private }), // members of what is not shared count for nothing
		sample(11, func(i *Image) { i.Visibility, i.Owner = Community, "beta" }),
	}
}

func TestVisibilityInLists(t *testing.T) {
	b := newBench(t, matrix()...)
	for _, c := range []struct{ token, query, want string }{
		{"alpha", "", "10 7 6 5 4 3 2 1"},
		{"beta", "", "11 6 1"},
		{"gamma", "", "1"},
		{"admin", "", "10 8 7 6 5 4 2 1"},
		{"beta", "member_status=pending", "11 5 1"},
		{"beta", "member_status=rejected", "11 7 1"},
		{"beta", "member_status=all", "11 7 6 5 1"},
		{"beta", "visibility=all", "11 6 3 1"},
		{"beta", "visibility=all&member_status=all", "11 7 6 5 3 1"},
		{"beta", "visibility=community", "11 3"},
		{"beta", "visibility=public", "1"},
		{"beta", "visibility=private", ""},
		{"beta", "visibility=shared", "6"},
		{"beta", "visibility=shared&member_status=pending", "5"},
		{"alpha", "visibility=shared", "7 6 5 4"},
		{"alpha", "visibility=private", "10 2"},
		{"admin", "visibility=all", "11 10 8 7 6 5 4 3 2 1"},
		{"admin", "visibility=community", "11 3"},
		{"admin", "visibility=private", "10 8 2"},
		{"beta", "os_hidden=true", "9"},
		{"beta", "os_hidden=True", "9"},
		{"beta", "os_hidden=false", "11 6 1"},
		{"beta", "owner=alpha", "6 1"},
		{"beta", "visibility=", "11 6 1"},
	} {
		if got := b.get("/v2/images?"+c.query, c.token).numbers(); got != c.want {
			t.Errorf("%s %q: got %q, want %q", c.token, c.query, got, c.want)
		}
	}
}

func TestVisibilityByID(t *testing.T) {
	b := newBench(t, matrix()...)
	for token, want := range map[string]string{
		"alpha": "1 2 3 4 5 6 7 9 10 11", "beta": "1 3 5 6 7 9 11", "gamma": "1 3 5 6 7 9 11", "admin": "1 2 3 4 5 6 7 8 9 10 11",
	} {
		var seen []string
		for n := range 13 {
			if a := b.get("/v2/images/"+string(id(n)), token); a.Code == http.StatusOK {
				seen = append(seen, fmt.Sprint(n))
			} else {
				a.want(404)
			}
		}
		if got := strings.Join(seen, " "); got != want {
			t.Errorf("%s: got %q, want %q", token, got, want)
		}
	}
	// The default rule get_image says no to private images that belong to nobody; the matrix alone would show them.
	nobody := sample(8, func(i *Image) { i.Visibility, i.Owner = Private, "" })
	if !VisibleTo(nobody, caller("beta")) || VisibleTo(sample(2, func(i *Image) { i.Visibility = Private }), nil) || IsMember(nobody, nil) {
		t.Error("who sees an image of nobody")
	}
}

// rows has images that differ in everything that filters look at.
func rows() []*Image {
	return []*Image{
		sample(1, func(i *Image) {
			i.Name, i.DiskFormat, i.Size, i.MinRAM, i.Checksum = "a,b", "qcow2", 100, 512, "abc"
			i.Tags, i.Properties = []string{"x", "y"}, map[string]string{"os_distro": "debian", "hw_disk_bus": "red"}
		}),
		sample(2, func(i *Image) {
			i.Name, i.Size, i.Protected, i.HashValue, i.HashAlgo = "plain", 200, true, "feed", "sha512"
			i.Tags, i.Properties = []string{"x"}, map[string]string{"os_distro": "fedora"}
		}),
		sample(3, func(i *Image) {
			i.Name, i.Status, i.Size, i.MinDisk, i.DiskFormat, i.ContainerFormat = "", Queued, 0, 7, "", ""
			i.Copying, i.ImportingTo, i.ImportTask = true, []string{"dcn0"}, "t1"
		}),
		sample(4, func(i *Image) { i.Name, i.VirtualSize = "plain", 1<<40 }),
	}
}

func TestFilters(t *testing.T) {
	b := newBench(t, rows()...)
	for query, want := range map[string]string{
		"name=plain":          "4 2",
		"name=eq:plain":       "4 2",
		"name=in:plain,other": "4 2",
		`name=in:"a,b",plain`: "4 2 1",
		`name=in:plain,"a,b"`: "4 2 1",
		"name=in:a,b":         "",
		"name=a,b":            "1",
		"name=":               "",
		"id=" + string(id(2)): "2",
		"id=in:" + string(id(2)) + "," + string(id(3)): "3 2",
		"status=queued":                              "3",
		"status=in:queued,active":                    "4 3 2 1",
		"disk_format=qcow2":                          "1",
		"container_format=bare":                      "4 2 1",
		"size_min=200":                               "2",
		"size_max=100":                               "4 1",
		"size_min=5&size_max=100":                    "4 1",
		"size=100":                                   "1",
		"virtual_size_min=1":                         "4",
		"min_ram=512":                                "1",
		"min_ram_min=1":                              "1",
		"min_disk_max=6":                             "4 2 1",
		"tag=x":                                      "2 1",
		"tag=x&tag=+y":                               "1",
		"tag=z":                                      "",
		"protected=true":                             "2",
		"protected=false":                            "4 3 1",
		"checksum=abc":                               "1",
		"checksum=":                                  "",
		"os_hash_value=feed":                         "2",
		"os_hash_algo=sha512":                        "2",
		"os_distro=debian":                           "1",
		"os_distro=debian&hw_disk_bus=red":           "1",
		"os_distro=debian&hw_disk_bus=blue":          "",
		"os_distro=debian&os_distro=fedora":          "2",
		"os_glance_importing_to_stores=dcn0":         "3",
		"os_glance_import_task=t1":                   "3",
		"os_glance_failed_import=":                   "3",
		"nothing=such":                               "",
		"self=/v2/images/" + string(id(1)):           "",
		"created_at=2026-11-21T06:00:02Z":            "2",
		"created_at=eq:2026-11-21T06:00:02Z":         "2",
		"created_at=neq:2026-11-21T06:00:02Z":        "4 3 1",
		"created_at=gt:2026-11-21T06:00:02Z":         "4 3",
		"created_at=gte:2026-11-21T06:00:02Z":        "4 3 2",
		"created_at=lt:2026-11-21T06:00:02":          "1",
		"created_at=lte:2026-11-21T08:00:02%2B02:00": "2 1",
		"updated_at=gt:2026-11-21T06:03:00Z":         "4",
		"updated_at=gt:2026-11-21":                   "4 3 2 1",
	} {
		if got := b.get("/v2/images?"+query, "beta").numbers(); got != want {
			t.Errorf("%q: got %q, want %q", query, got, want)
		}
	}
}

func TestBadQueries(t *testing.T) {
	b := newBench(t, rows()...)
	for _, query := range []string{
		"limit=x", "limit=", "limit=-1", "limit=1.5", "marker=x", "marker=", "marker=" + string(id(77)), "visibility=secret", "member_status=maybe",
		"changes-since=2026-11-21T06:00:02Z", "protected=True", "protected=1", "os_hidden=", "size_min=many", "size_max=", "min_ram=x",
		"created_at=yesterday", "created_at=near:2026-11-21T06:00:02Z", "updated_at=gt:", "created_at=", "name=foo:bar", "id=gt:1",
		`name=in:"a`, `name=in:x"a"`, `name=in:"a"x`, `name=in:a,"b`, "sort_key=owner", "sort_dir=up", "sort_key=", "sort=name:up",
		"sort=name&sort_key=name", "sort=name&sort_dir=asc", "sort=", "sort=owner", "sort_key=name&sort_dir=asc&sort_dir=desc", "sort_dir=asc&sort_dir=desc",
		"sort_key=name&sort_key=size&sort_dir=asc&sort_dir=desc&sort_dir=asc", "sort=" + strings.Repeat("name,", 20) + "name",
		strings.Repeat("sort_key=name&", 20), "created_at=" + strings.Repeat("1", 50),
	} {
		a := b.get("/v2/images?"+query, "beta")
		if a.Code != http.StatusBadRequest {
			t.Errorf("%q: got %d %s", query, a.Code, a.Body)
		}
	}
}

func TestDates(t *testing.T) {
	want := time.Date(2026, 11, 21, 6, 0, 0, 0, time.UTC)
	for _, s := range []string{
		"2026-11-21T06:00:00Z", "2026-11-21T06:00:00", "2026-11-21T06:00", "2026-11-21 06:00:00", "20261121T060000Z", "20261121T060000",
		"2026-11-21T07:30:00+01:30", "2026-11-21T05:00:00-0100", "2026-11-21T05:00:00-01", "2026-11-21T06:00:00.000000",
	} {
		if got, ok := parseDate(s); !ok || !got.Equal(want) {
			t.Errorf("%s: got %v %v", s, got, ok)
		}
	}
}

func TestSorts(t *testing.T) {
	at := func(n int, name string, size int64) *Image {
		return sample(n, func(i *Image) { i.Name, i.Size = name, size })
	}
	b := newBench(t, at(1, "b", 5), at(2, "a", 5), at(3, "b", 1), at(4, "", 9))
	for query, want := range map[string]string{
		"":                                 "4 3 2 1",
		"sort_dir=asc":                     "1 2 3 4",
		"sort_key=created_at&sort_dir=asc": "1 2 3 4",
		"sort=created_at:asc,id:desc":      "1 2 3 4",
		"sort_key=name":                    "3 1 2 4",
		"sort_key=name&sort_dir=asc":       "4 2 1 3",
		"sort=name:asc":                    "4 2 1 3",
		"sort=name":                        "3 1 2 4",
		"sort=name:":                       "3 1 2 4",
		"sort= name : asc ,size:asc":       "4 2 3 1",
		"sort_key=size&sort_key=name":      "4 1 2 3",
		"sort=size:asc,name:desc":          "3 1 2 4",
		"sort_key=size&sort_key=id&sort_dir=asc&sort_dir=desc": "3 2 1 4",
		"sort=size:asc,id:asc":                                 "3 1 2 4",
		"sort_key=updated_at&sort_dir=asc":                     "1 2 3 4",
		"sort=disk_format,container_format,status":             "4 3 2 1",
	} {
		if got := b.get("/v2/images?"+strings.ReplaceAll(query, " ", "%20"), "beta").numbers(); got != want {
			t.Errorf("%q: got %q, want %q", query, got, want)
		}
	}
}

func TestPages(t *testing.T) {
	var images []*Image
	for n := range 60 {
		images = append(images, sample(n))
	}
	b := newBench(t, images...)
	page := b.get("/v2/images", "beta").object()
	if len(page["images"].([]any)) != DefaultLimit || page["schema"] != "/v2/schemas/images" || page["first"] != "/v2/images" ||
		page["next"] != "/v2/images?marker="+string(id(35)) {
		t.Errorf("%v %v %v", page["schema"], page["first"], page["next"])
	}
	page = b.get("/v2/images?name=image+5%26&limit=2&tag=a&tag=%C3%A9&marker="+string(id(3)), "beta").object()
	if page["first"] != "/v2/images?name=image+5%26&limit=2&tag=a&tag=%C3%A9" || page["next"] != nil {
		t.Errorf("%v %v", page["first"], page["next"])
	}
	if got := b.get("/v2/images?limit=0", "beta").want(200).object(); len(got["images"].([]any)) != 0 || got["next"] != nil {
		t.Error(got)
	}
	if got := len(b.get("/v2/images?limit=5000", "beta").object()["images"].([]any)); got != 60 {
		t.Error(got)
	}
	if got := b.get("/v2/images?limit=2&marker="+strings.ToUpper(string(id(30))), "beta").numbers(); got != "29 28" {
		t.Error(got)
	}
	// The last page is full, so there may be another one; it is empty and the end.
	last := b.get("/v2/images?limit=2&marker="+string(id(2)), "beta")
	if got := last.numbers(); got != "1 0" || last.object()["next"] == nil {
		t.Error(got)
	}
	if got := b.get("/v2/images?limit=2&marker="+string(id(0)), "beta").object(); got["next"] != nil {
		t.Error(got["next"])
	}
	if newBench(t, sample(1, func(i *Image) { i.Visibility = Private })).get("/v2/images?marker="+string(id(1)), "beta").Code != 400 {
		t.Error("a marker tells that a private image exists")
	}
}

// veto is a Policy that refuses what it names and allows everything else.
type veto struct {
	rules      map[string]func(t policy.Target) bool // whether it is refused
	unreadable []string
}

func (v veto) Allowed(c *auth.Caller, rule string, t policy.Target) bool {
	if rule == "context_is_admin" {
		return c.HasRole("admin")
	}
	refused := v.rules[rule]
	return refused == nil || !refused(t)
}

func (v veto) Property(_ *auth.Caller, name string, op policy.Operation) bool {
	return op != policy.Read || !slices.Contains(v.unreadable, name)
}

func (v veto) Protected() bool { return len(v.unreadable) > 0 }

func always(policy.Target) bool { return true }

func TestListRules(t *testing.T) {
	b := newBench(t, sample(1), sample(2), sample(3), sample(4))
	named := func(name string) func(policy.Target) bool {
		return func(t policy.Target) bool {
			got, _ := t.Attribute("name")
			return got == name
		}
	}
	b.reads.Policy = veto{rules: map[string]func(policy.Target) bool{"get_image": named("image 3")}}
	a := b.get("/v2/images?limit=2", "beta")
	if got := a.numbers(); got != "4" || a.object()["next"] != "/v2/images?limit=2&marker="+string(id(4)) {
		t.Error(got, a.object()["next"])
	}
	b.reads.Policy = veto{rules: map[string]func(policy.Target) bool{"get_image": always}}
	if a := b.get("/v2/images?limit=2", "beta"); a.numbers() != "" || a.object()["next"] != nil {
		t.Error(a.Body)
	}
	b.reads.Policy = veto{rules: map[string]func(policy.Target) bool{"get_images": always}}
	b.get("/v2/images", "beta").want(403)
}

func TestProtectedProperties(t *testing.T) {
	img := sample(1, func(i *Image) { i.Properties = map[string]string{"secret": "s3", "open": "yes"} })
	b := newBench(t, img)
	b.get("/v2/images/"+string(id(1)), "admin").want(200) // fills the cache of bytes
	b.reads.Policy = veto{unreadable: []string{"secret"}}
	for _, url := range []string{"/v2/images/" + string(id(1)), "/v2/images"} {
		if got := b.get(url, "beta").want(200).Body.String(); strings.Contains(got, "s3") || !strings.Contains(got, `"open":"yes"`) {
			t.Error(got)
		}
	}
	if got := b.get("/v2/images?secret=s3", "beta").numbers(); got != "" {
		t.Error("a filter tells the value of a property that may not be read")
	}
	if got := b.get("/v2/images?open=yes", "beta").numbers(); got != "1" {
		t.Error(got)
	}
}

// Walking through pages of any size in any order shows each image once, in order, and is the same as one large page.
func TestPagesAreOneList(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var images []*Image
		for n := range rapid.IntRange(0, 30).Draw(rt, "images") {
			images = append(images, sample(n, func(i *Image) {
				i.Name = rapid.SampledFrom([]string{"", "a", "b"}).Draw(rt, "name")
				i.Size = rapid.Int64Range(0, 2).Draw(rt, "size")
				i.CreatedAt = start.Add(time.Duration(rapid.IntRange(0, 3).Draw(rt, "age")) * time.Second)
				i.Visibility = rapid.SampledFrom([]Visibility{Public, Private, Community}).Draw(rt, "visibility")
			}))
		}
		b := newBench(t, images...)
		var keys []string
		for range rapid.IntRange(0, 3).Draw(rt, "keys") {
			key := rapid.SampledFrom([]string{"name", "size", "created_at", "id", "status"}).Draw(rt, "key")
			keys = append(keys, key+":"+rapid.SampledFrom([]string{"asc", "desc"}).Draw(rt, "dir"))
		}
		query := "/v2/images?visibility=all"
		if len(keys) > 0 {
			query += "&sort=" + url.QueryEscape(strings.Join(keys, ","))
		}
		all := b.get(query+"&limit=1000", "beta").numbers()
		var walked []string
		next := query + fmt.Sprintf("&limit=%d", rapid.IntRange(1, 7).Draw(rt, "limit"))
		for pages := 0; next != ""; pages++ {
			if pages > len(images)+1 {
				rt.Fatal("the pages never end")
			}
			a := b.get(next, "beta")
			if part := a.numbers(); part != "" {
				walked = append(walked, part)
			}
			next, _ = a.object()["next"].(string)
		}
		if got := strings.Join(walked, " "); got != all {
			rt.Fatalf("%s: walked %q, want %q", query, got, all)
		}
		checkOrder(rt, images, query, all)
	})
}

// checkOrder compares a page with a full sort.
func checkOrder(rt *rapid.T, images []*Image, query, all string) {
	_, raw, _ := strings.Cut(query, "?")
	q, err := parseQuery(raw)
	if err != nil {
		rt.Fatal(err)
	}
	var want []*Image
	for _, img := range images {
		if img.Visibility != Private {
			want = append(want, img)
		}
	}
	slices.SortFunc(want, func(x, y *Image) int { return compare(q.order, x, y) })
	var numbers []string
	for _, img := range want {
		var n int
		_, _ = fmt.Sscanf(string(img.ID), "%08x", &n)
		numbers = append(numbers, fmt.Sprint(n))
	}
	if got := strings.Join(numbers, " "); got != all {
		rt.Fatalf("%s: got %q, sorted %q", query, all, got)
	}
}
