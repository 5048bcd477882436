package glance

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/atoll-dcn/atoll/hub/internal/importer/outside"
)

// ways are the requests that make the hub fetch a URL: an import, and a task of the old kind.
func ways(h *hub, uri string) map[string]func(code int) reply {
	return map[string]func(int) reply{
		"web-download": func(code int) reply {
			return h.want(code, "POST", path(h.create(), "import"), jsonBody(webDownload(uri, "")))
		},
		"task": func(code int) reply {
			return h.want(code, "POST", "/v2/tasks", jsonBody(fmt.Sprintf(
				`{"type":"import","input":{"import_from":%q,"import_from_format":"raw","image_properties":{}}}`, uri)), "X-Auth-Token", "admin")
		},
	}
}

// Rows 23 and 24: every way to fetch a URL asks the same filter, when it is asked for and when it is dialled.
func TestRow24EveryWayIsFiltered(t *testing.T) {
	t.Parallel()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	connected := make(chan error, 1)
	go func() { _, err := l.Accept(); connected <- err }()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	h := newHub(t, func(o *options) {
		o.outside = outside.Options{AllowPorts: []string{"80", port}, DenyHosts: []string{"*.corp.example"}}
	}, unreachable)
	for _, uri := range []string{
		"http://127.0.0.1:" + port + "/", "http://0x7f000001:" + port + "/", "http://2130706433:" + port + "/", "http://0177.1:" + port + "/",
		"http://127.1:" + port + "/", "http://[::ffff:127.0.0.1]:" + port + "/", "http://169.254.169.254/latest", "http://10.0.0.1/", "file:///etc/passwd",
		"http://example.org:22/", "https://example.org/", "http://git.corp.example/",
	} {
		for _, ask := range ways(h, uri) {
			ask(http.StatusBadRequest)
		}
	}
	if n := len(h.catalog.Read().Operations()); n != 0 {
		t.Fatalf("%d operations have begun", n)
	}
	uri := "http://user:hunter2@localhost:" + port + "/?sig=s3cret"
	var messages []string
	for way, ask := range ways(h, uri) {
		code := http.StatusAccepted
		if way == "task" {
			code = http.StatusCreated
		}
		if r := ask(code); strings.Contains(string(r.body), "hunter2") {
			t.Errorf("%s: %s", way, r.body)
		}
	}
	h.until("both have failed", func() bool {
		messages = nil
		for _, o := range h.catalog.Read().Operations() {
			if o.EndTime == nil {
				return false
			}
			messages = append(messages, fmt.Sprint(h.server.task(o)))
		}
		return len(messages) == 2
	})
	for _, m := range messages {
		if !strings.Contains(m, "the source cannot be reached") || strings.Contains(m, "hunter2") || strings.Contains(m, "s3cret") {
			t.Errorf("got %s", m)
		}
	}
	_ = l.Close()
	if <-connected == nil {
		t.Error("somebody has connected")
	}
}

// Row 46: an import whose data is not what the request says fails with a reason and leaves nothing; the image can be
// imported again.
func TestRow46ImportChecksum(t *testing.T) {
	t.Parallel()
	data := random(5 << 20)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(data) }))
	t.Cleanup(web.Close)
	h := newHub(t)
	short, long := sha256.Sum256(data), sha512.Sum512(data)
	request := func(sum string) string {
		return fmt.Sprintf(`{"method":{"name":"web-download","uri":%q,"checksum":%q},"stores":["dcn1"]}`, web.URL, sum)
	}
	id := h.create()
	for _, bad := range []string{`"sha256:12"`, `"md5:d41d8cd98f00b204e9800998ecf8427e"`, `1`, `["x"]`} {
		h.want(http.StatusBadRequest, "POST", path(id, "import"), jsonBody(fmt.Sprintf(`{"method":{"name":"web-download","uri":%q,"checksum":%s}}`, web.URL, bad)))
	}
	for _, method := range []string{"glance-direct", "copy-image"} {
		h.want(http.StatusBadRequest, "POST", path(id, "import"), jsonBody(fmt.Sprintf(`{"method":{"name":%q,"checksum":"sha256:%x"}}`, method, short)))
	}
	short[0]++
	h.want(http.StatusAccepted, "POST", path(id, "import"), jsonBody(request("sha256:"+hex.EncodeToString(short[:]))))
	h.until("it has failed", func() bool { return h.show(id)["os_glance_failed_import"] == "central,dcn1" })
	h.wantNothing(id)
	if task := h.task(id); task["status"] != "failure" || !strings.Contains(fmt.Sprint(task["message"]), hex.EncodeToString(short[:])) {
		t.Fatalf("got %v", task)
	}
	h.want(http.StatusAccepted, "POST", path(id, "import"), jsonBody(request("sha512:"+hex.EncodeToString(long[:]))))
	h.until("both stores have it", func() bool { return h.show(id)["stores"] == "central,dcn1" })
	if !bytes.Equal(h.sites.copied("dcn1", id), data) {
		t.Fatal("other bytes")
	}
}

// Row 23: an image of another region comes from where the service catalog says, as far as that may be, and is what that
// region says of it.
func TestRow23GlanceDownload(t *testing.T) {
	t.Parallel()
	far := &region{token: "alice", format: "raw"}
	web := httptest.NewServer(far)
	t.Cleanup(web.Close)
	far.url = web.URL + "/image/v2/"
	const request = `{"method":{"name":"glance-download","glance_region":"far","glance_image_id":"2bd882e7-1da0-4078-97fe-f1bb81f61b00",` +
		`"glance_service_interface":"internal"}}`
	refused := newHub(t, func(o *options) {
		o.settings.GlanceDownload, o.regions, o.outside = true, far, outside.Options{}.ForRegions()
	}, unreachable)
	id := refused.create()
	refused.want(http.StatusAccepted, "POST", path(id, "import"), jsonBody(request))
	refused.until("it has failed", func() bool { return refused.show(id)["os_glance_failed_import"] == "central" })
	refused.wantNothing(id)
	if far.asked.Load() != 0 {
		t.Fatal("a service on the hub's own machine was asked")
	}
	h := newHub(t, func(o *options) { o.settings.GlanceDownload, o.regions = true, far })
	for _, c := range []struct {
		sum    [sha512.Size]byte
		status string
	}{{sha512.Sum512([]byte("other")), "queued"}, {sha512.Sum512([]byte("far")), "active"}} {
		far.sum = hex.EncodeToString(c.sum[:])
		id := h.create()
		h.want(http.StatusAccepted, "POST", path(id, "import"), jsonBody(request))
		h.until("it has ended", func() bool { return h.task(id)["status"] != "pending" && h.show(id)["status"] == c.status })
	}
}
