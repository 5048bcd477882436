package imageapi

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/atoll-dcn/atoll/pkg/policy"
)

func sharedImage() *Image {
	return sample(1, func(i *Image) {
		i.Visibility = Shared
		i.Members = []Member{
			{ProjectID: "beta", Status: "pending", CreatedAt: start, UpdatedAt: start}, {ProjectID: "delta", Status: "accepted", CreatedAt: start, UpdatedAt: start},
		}
	})
}

func memberNames(a answer) string {
	a.t.Helper()
	var list struct {
		Members []MemberView
		Schema  string
	}
	if err := json.Unmarshal(a.want(http.StatusOK).Body.Bytes(), &list); err != nil || list.Schema != "/v2/schemas/members" || list.Members == nil {
		a.t.Fatal(err, a.Body)
	}
	var names []string
	for _, m := range list.Members {
		names = append(names, m.MemberID)
	}
	return strings.Join(names, " ")
}

func TestMembers(t *testing.T) {
	b := newBench(t, sharedImage(), sample(2), sample(3, func(i *Image) { i.Visibility = Shared }))
	url := "/v2/images/" + string(id(1)) + "/members"
	for token, want := range map[string]string{"alpha": "beta delta", "reader": "beta delta", "admin": "beta delta", "beta": "beta"} {
		if got := memberNames(b.get(url, token)); got != want {
			t.Errorf("%s: got %q", token, got)
		}
	}
	b.get(url, "gamma").want(404)
	b.get("/v2/images/"+string(id(2))+"/members", "alpha").want(403)
	b.get("/v2/images/"+string(id(9))+"/members", "alpha").want(404)
	if got := memberNames(b.get("/v2/images/"+string(id(3))+"/members", "alpha")); got != "" {
		t.Error(got)
	}
	if got := marshal(b.get(url+"/beta", "beta").want(200).object()); got != `{"created_at":"2026-11-21T06:00:00Z","image_id":"`+string(id(1))+
		`","member_id":"beta","schema":"/v2/schemas/member","status":"pending","updated_at":"2026-11-21T06:00:00Z"}` {
		t.Error(got)
	}
	b.get(url+"/delta", "alpha").want(200)
	b.get(url+"/delta", "beta").want(404)
	b.get(url+"/nobody", "alpha").want(404)
	b.get(url+"/beta", "gamma").want(404)
	b.get("/v2/images/"+string(id(2))+"/members/beta", "alpha").want(404)
}

func TestMemberRules(t *testing.T) {
	b := newBench(t, sharedImage())
	url := "/v2/images/" + string(id(1)) + "/members"
	b.reads.Policy = veto{rules: map[string]func(policy.Target) bool{"get_member": func(t policy.Target) bool {
		got, _ := t.Attribute("member_id")
		return got == "delta"
	}}}
	if got := memberNames(b.get(url, "alpha")); got != "beta" {
		t.Error(got)
	}
	b.get(url+"/delta", "alpha").want(404)
	b.reads.Policy = veto{rules: map[string]func(policy.Target) bool{"get_members": always}}
	b.get(url, "alpha").want(403)
}

func TestFindAndAuthorize(t *testing.T) {
	b := newBench(t, sample(1), sample(2, func(i *Image) { i.Visibility = Private }))
	b.router.Handle(http.MethodDelete, "/v2/images/{id}", func(_ http.ResponseWriter, r *http.Request) error {
		_, _, err := b.reads.Find(r, "delete_image")
		return err
	})
	b.do(http.MethodDelete, "/v2/images/"+string(id(1)), "beta", "").want(403)
	b.do(http.MethodDelete, "/v2/images/"+string(id(2)), "beta", "").want(404)
	b.do(http.MethodDelete, "/v2/images/"+string(id(2)), "alpha", "").want(200)
	b.do(http.MethodDelete, "/v2/images/"+strings.ToUpper(string(id(2))), "admin", "").want(200)
	b.do(http.MethodDelete, "/v2/images/7", "admin", "").want(404)
	b.reads.Policy = veto{rules: map[string]func(policy.Target) bool{"get_image": always}}
	b.do(http.MethodDelete, "/v2/images/"+string(id(1)), "admin", "").want(404)
}

func TestStores(t *testing.T) {
	b := newBench(t)
	if got := strings.TrimSpace(b.get("/v2/info/stores", "beta").want(200).Body.String()); got !=
		`{"stores":[{"id":"central","description":"the large one","default":"true"},{"id":"dcn0"},{"id":"web","read-only":"true"}]}` {
		t.Error(got)
	}
	b.get("/v2/info/stores/detail", "beta").want(403)
	if got := strings.TrimSpace(b.get("/v2/info/stores/detail", "admin").want(200).Body.String()); got !=
		`{"stores":[{"id":"central","description":"the large one","default":"true","type":"rbd","weight":10,"properties":{"pool":"images"}},`+
			`{"id":"dcn0","type":"rbd","weight":0,"properties":{}},{"id":"web","read-only":"true","type":"http","weight":0,"properties":{}}]}` {
		t.Error(got)
	}
	none := newBench(t)
	none.reads.Stores = func() []Store { return nil }
	if got := none.get("/v2/info/stores", "beta").Body.String(); got != `{"stores":[]}` {
		t.Error(got)
	}
	gone := newBench(t, stored(1))
	gone.reads.Stores, gone.reads.Open = nil, nil
	gone.get("/v2/info/stores", "beta").want(404)
	gone.get("/v2/images/"+string(id(1))+"/file", "beta").want(404)
}
