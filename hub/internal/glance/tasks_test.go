package glance

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/pkg/image"
	agentv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/agent/v1"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

func keysOf(m map[string]any) string { return strings.Join(slices.Sorted(maps.Keys(m)), " ") }

func TestImageTasks(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	id := h.upload([]byte("data"))
	if r := h.want(http.StatusOK, "GET", path(id, "tasks"), nil); strings.TrimSpace(string(r.body)) != `{"tasks":[]}` {
		t.Fatalf("an upload is a task: %s", r.body)
	}
	h.sites.change("dcn0", func(s *fakeSite) { s.stuck = true })
	h.want(http.StatusAccepted, "POST", path(id, "import"), jsonBody(copyImage))
	h.until("the copy is being written", func() bool {
		return strings.Contains(fmt.Sprint(h.task(id)["message"]), "0 % copied; dcn0: 0 % at 3 MiB/s")
	})
	task := h.task(id)
	const keys = "created_at deleted deleted_at expires_at id image_id input message owner request_id result status type updated_at user_id"
	if got := keysOf(task); got != keys {
		t.Fatalf("got the keys %s", got)
	}
	if task["type"] != "api_image_import" || task["status"] != "processing" || task["user_id"] != "alice" || task["owner"] != "p1" ||
		task["image_id"] != string(id) || task["result"] != nil || !strings.HasPrefix(fmt.Sprint(task["request_id"]), "req-") {
		t.Fatalf("got %v", task)
	}
	h.sites.change("dcn0", func(s *fakeSite) { s.online = false })
	h.until("it says for whom it waits", func() bool { return strings.Contains(fmt.Sprint(h.task(id)["message"]), "waiting for site dcn0") })
	h.sites.change("dcn0", func(s *fakeSite) { s.online, s.stuck = true, false })
	h.until("it is done", func() bool { return h.task(id)["status"] == "success" })
	if task := h.task(id); task["message"] != "dcn0: 100 %" || task["expires_at"] == nil || fmt.Sprint(task["result"]) != fmt.Sprintf("map[image_id:%s]", id) {
		t.Fatalf("got %v", task)
	}
	h.want(http.StatusNotFound, "GET", path(id, "tasks"), nil, "X-Auth-Token", "bob")
	h.want(http.StatusNotFound, "GET", path(image.NewID(), "tasks"), nil)
}

// Secrets in a URL are not told to those who see the task.
func TestTasksHideSecrets(t *testing.T) {
	t.Parallel()
	h := newHub(t, func(o *options) { o.paused = true })
	id := h.create()
	h.want(http.StatusAccepted, "POST", path(id, "import"), jsonBody(webDownload("http://user:hunter2@127.0.0.1:1/i?sig=hunter3#hunter4", "")))
	if got := fmt.Sprint(h.task(id)); strings.Contains(got, "hunter") || !strings.Contains(got, "http://127.0.0.1:1/i") {
		t.Fatalf("got %s", got)
	}
}

// Who may see an image need not know who has done what with it, or where its data came from.
func TestImageTasksOfOthers(t *testing.T) {
	t.Parallel()
	a := defaultAPI(t)
	id := a.put(active("p1", storev1.Visibility_VISIBILITY_PUBLIC), "central")
	for _, project := range []string{"p1", "p2"} {
		op := &storev1.Operation{
			Id: string(image.NewID()), ImageId: id, Kind: storev1.OperationKind_OPERATION_KIND_COPY, CreateTime: timestamppb.New(start),
			State: storev1.OperationState_OPERATION_STATE_SUCCEEDED, Requester: &storev1.Requester{ProjectId: project, UserId: "of " + project},
		}
		a.records.Put(catalog.OperationKey(image.ID(op.Id)), op)
	}
	for who, want := range map[string]string{"alice": "of p1 of p2", "admin": "of p1 of p2", "bob": "of p2", "carol": ""} {
		var got struct {
			Tasks []struct {
				UserID string `json:"user_id"`
			} `json:"tasks"`
		}
		if err := json.Unmarshal(a.do(who, "GET", "/v2/images/"+id+"/tasks", "").Body.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		var users []string
		for _, task := range got.Tasks {
			users = append(users, task.UserID)
		}
		slices.Sort(users)
		if strings.Join(users, " ") != want {
			t.Errorf("%s sees the tasks %q, want %q", who, users, want)
		}
	}
}

func (h *hub) admin(code int, method, path, body string) reply {
	h.t.Helper()
	return h.want(code, method, path, jsonBody(body), "X-Auth-Token", "admin")
}

func TestCreateTask(t *testing.T) {
	t.Parallel()
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("data")) }))
	t.Cleanup(web.Close)
	h := newHub(t)
	body := func(input string) string { return `{"type":"import","input":{` + input + `}}` }
	from := fmt.Sprintf(`"import_from":%q`, web.URL)
	const format, properties = `"import_from_format":"raw"`, `"image_properties":{"name":"n","os_type":"linux"}`
	h.want(http.StatusForbidden, "POST", "/v2/tasks", jsonBody(body(from)))
	for name, bad := range map[string]string{
		"no JSON":         "{",
		"no type":         `{"input":{}}`,
		"another type":    `{"type":"api_image_import","input":{}}`,
		"no input":        `{"type":"import"}`,
		"no source":       body(format + "," + properties),
		"bad source":      body(`"import_from":"file:///etc/passwd",` + format + "," + properties),
		"no format":       body(from + "," + properties),
		"unknown format":  body(from + `,"import_from_format":"x",` + properties),
		"no properties":   body(from + "," + format),
		"properties list": body(from + "," + format + `,"image_properties":[]`),
		"more":            body(from + "," + format + "," + properties + `,"more":1`),
		"bad property":    body(from + "," + format + `,"image_properties":{"min_disk":-1}`),
	} {
		if r := h.do("POST", "/v2/tasks", jsonBody(bad), "X-Auth-Token", "admin"); r.StatusCode != http.StatusBadRequest {
			t.Fatalf("%s: got %d %s", name, r.StatusCode, r.body)
		}
	}
	h.admin(http.StatusForbidden, "POST", "/v2/tasks", body(from+","+format+`,"image_properties":{"status":"active"}`))
	if n := len(h.catalog.Read().Images()); n != 0 {
		t.Fatalf("%d images are left", n)
	}
	r := h.admin(http.StatusCreated, "POST", "/v2/tasks", body(from+","+format+","+properties))
	task := r.json(t)
	self := fmt.Sprint("/v2/tasks/", task["id"])
	const keys = "created_at expires_at id image_id input message owner request_id result schema self status type updated_at user_id"
	if keysOf(task) != keys || task["type"] != "import" || task["self"] != self || r.Header.Get("Location") != self || task["schema"] != "/v2/schemas/task" {
		t.Fatalf("got %v", task)
	}
	h.until("it is done", func() bool { return h.admin(http.StatusOK, "GET", self, "").json(t)["status"] == "success" })
	id := image.ID(fmt.Sprint(task["image_id"]))
	img, _ := h.catalog.Read().Image(id)
	if img.Name != "n" || img.Properties["os_type"] != "linux" || img.DiskFormat != "raw" || string(h.sites.copied("central", id)) != "data" {
		t.Fatalf("got %v", img)
	}
	h.want(http.StatusForbidden, "GET", self, nil)
	h.admin(http.StatusNotFound, "GET", "/v2/tasks/"+string(image.NewID()), "")
	if r := h.admin(http.StatusMethodNotAllowed, "DELETE", self, ""); r.Header.Get("Allow") != "GET" {
		t.Fatalf("got Allow: %q", r.Header.Get("Allow"))
	}
}

func TestListTasks(t *testing.T) {
	t.Parallel()
	h := newHub(t, func(o *options) { o.paused = true })
	h.want(http.StatusForbidden, "GET", "/v2/tasks", nil)
	states := []storev1.OperationState{
		storev1.OperationState_OPERATION_STATE_SUCCEEDED, storev1.OperationState_OPERATION_STATE_FAILED,
		storev1.OperationState_OPERATION_STATE_CANCELLED, storev1.OperationState_OPERATION_STATE_SUCCEEDED,
	}
	var ids []string
	for i, state := range states {
		o := &storev1.Operation{
			Id: string(image.NewID()), Kind: storev1.OperationKind_OPERATION_KIND_COPY, ImageId: string(image.NewID()), State: state,
			CreateTime: catalog.Stamp(start.AddDate(0, 0, i)), EndTime: catalog.Stamp(start.AddDate(0, 1, -i)),
			Requester: &storev1.Requester{ProjectId: fmt.Sprint("p", i%2)},
		}
		if i == 0 {
			o.Kind = storev1.OperationKind_OPERATION_KIND_ADOPT
		}
		ids = append(ids, o.Id)
		h.records.Put(catalog.OperationKey(image.ID(o.Id)), o)
	}
	h.records.Put(catalog.OperationKey("x"), &storev1.Operation{Id: "x", Kind: storev1.OperationKind_OPERATION_KIND_DELETE_IMAGE})
	for query, want := range map[string]string{
		"":                                       "3210",
		"?status=success":                        "30",
		"?status=failure":                        "21",
		"?status=pending":                        "",
		"?type=location_import":                  "0",
		"?owner=p1":                              "31",
		"?sort_key=created_at&sort_dir=asc":      "0123",
		"?sort_key=updated_at":                   "0123",
		"?limit=2":                               "32",
		"?limit=0":                               "",
		"?limit=2&marker=" + ids[2]:              "10",
		"?limit=2&sort_dir=asc&marker=" + ids[1]: "23",
		"?unknown=1":                             "3210",
	} {
		out := h.admin(http.StatusOK, "GET", "/v2/tasks"+query, "").json(t)
		got := ""
		list, _ := out["tasks"].([]any)
		for _, entry := range list {
			task, _ := entry.(map[string]any)
			got += fmt.Sprint(slices.Index(ids, fmt.Sprint(task["id"])))
			const keys = "created_at expires_at id image_id owner request_id schema self status type updated_at user_id"
			if keysOf(task) != keys {
				t.Fatalf("got %v", task)
			}
		}
		if got != want || out["schema"] != "/v2/schemas/tasks" || !strings.HasPrefix(fmt.Sprint(out["first"]), "/v2/tasks") {
			t.Fatalf("%s: got %s, want %s: %v", query, got, want, out)
		}
	}
	// Following next goes through all of them once.
	seen, next := 0, "/v2/tasks?limit=3"
	for next != "" {
		out := h.admin(http.StatusOK, "GET", next, "").json(t)
		list, _ := out["tasks"].([]any)
		seen += len(list)
		next, _ = out["next"].(string)
	}
	if seen != len(ids) {
		t.Fatalf("saw %d", seen)
	}
	for _, query := range []string{
		"status=lost", "type=x", "limit=-1", "limit=x", "sort_key=message", "sort_dir=up", "marker=" + string(image.NewID()), "%zz",
	} {
		h.admin(http.StatusBadRequest, "GET", "/v2/tasks?"+query, "")
	}
}

func TestReplicas(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	id := h.upload(random(10 << 20))
	h.sites.change("dcn0", func(s *fakeSite) { s.stuck = true })
	h.sites.change("dcn1", func(s *fakeSite) {
		s.failure = &agentv1.Failure{Reason: "STORE_ERROR", Message: "the pool is read-only"}
	})
	h.want(http.StatusAccepted, "POST", path(id, "import"), jsonBody(`{"method":{"name":"copy-image"},"all_stores":true,"all_stores_must_succeed":false}`))
	of := func(store string) map[string]any {
		list, _ := h.want(http.StatusOK, "GET", path(id, "replicas"), nil).json(t)["replicas"].([]any)
		for _, entry := range list {
			if r, _ := entry.(map[string]any); r["store"] == store {
				return r
			}
		}
		return nil
	}
	h.until("one is written, one has failed", func() bool { return of("dcn0")["phase"] == "transferring" && of("dcn1")["phase"] == "failed" })
	if r := of("central"); r["phase"] != "active" || r["percent"] != 100.0 || r["bytes_done"] != float64(10<<20) || r["reason"] != nil {
		t.Fatalf("got %v", r)
	}
	if r := of("dcn0"); r["percent"] != 0.0 || r["bytes_total"] != float64(10<<20) || r["bytes_per_second"] != float64(3<<20) || r["site"] != "dcn0" {
		t.Fatalf("got %v", r)
	}
	if r := of("dcn1"); r["reason"] != "STORE_ERROR" || r["message"] != "the pool is read-only" {
		t.Fatalf("got %v", r)
	}
	h.sites.change("dcn0", func(s *fakeSite) {
		s.progress = &agentv1.Progress{BytesDone: 10<<20 - 1, BytesTotal: 10 << 20}
	})
	h.until("it is nearly done", func() bool { return of("dcn0")["percent"] == 99.0 })
	h.sites.change("dcn0", func(s *fakeSite) { s.online = false })
	h.until("it waits", func() bool { return of("dcn0")["waiting_since"] != nil && of("dcn0")["reason"] == "WAITING_FOR_SITE" })
	h.want(http.StatusNotFound, "GET", path(id, "replicas"), nil, "X-Auth-Token", "bob")
}

func TestStores(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	const stores = `{"stores":[{"id":"central","description":"site central","default":"true"},` +
		`{"id":"dcn0","description":"site dcn0"},{"id":"dcn1","description":"site dcn1"}]}`
	if r := h.want(http.StatusOK, "GET", "/v2/info/stores", nil); strings.TrimSpace(string(r.body)) != stores {
		t.Fatalf("got %s", r.body)
	}
	h.want(http.StatusForbidden, "GET", "/v2/info/stores/detail", nil)
	list, _ := h.admin(http.StatusOK, "GET", "/v2/info/stores/detail", "").json(t)["stores"].([]any)
	first, _ := list[0].(map[string]any)
	if first["type"] != "rbd" || first["weight"] != 0.0 ||
		fmt.Sprint(first["properties"]) != "map[chunk_size:4.194304e+06 fsid:f-central pool:images thin_provisioning:true]" {
		t.Fatalf("got %v", first)
	}
}

func TestUsage(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	if r := h.want(http.StatusOK, "GET", "/v2/info/usage", nil); strings.TrimSpace(string(r.body)) != `{"usage":{}}` {
		t.Fatalf("got %s", r.body)
	}
	h = newHub(t, func(o *options) { o.limits.ProjectBytes, o.limits.ProjectImages = 100<<20, 7 })
	h.spread(random(1<<20 + 1))
	staged := h.create()
	h.want(http.StatusNoContent, "PUT", path(staged, "stage"), jsonBody("x"), octets()...)
	h.createAs("p2")
	const want = `{"usage":{"image_count_total":{"usage":2,"limit":7},"image_count_uploading":{"usage":1,"limit":-1},` +
		`"image_size_total":{"usage":4,"limit":100},"image_stage_total":{"usage":1,"limit":-1}}}`
	if r := h.want(http.StatusOK, "GET", "/v2/info/usage", nil); strings.TrimSpace(string(r.body)) != want {
		t.Fatalf("got %s", r.body)
	}
}
