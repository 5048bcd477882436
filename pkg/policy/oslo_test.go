package policy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
)

// TestAgreesWithOsloPolicy decides many rules here and with the original, run by the Python interpreter that
// ATOLL_TEST_OSLO_POLICY names.
func TestAgreesWithOsloPolicy(t *testing.T) {
	python := os.Getenv("ATOLL_TEST_OSLO_POLICY")
	if python == "" {
		t.Skip("ATOLL_TEST_OSLO_POLICY does not name a Python that has oslo.policy")
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	rules := make([]any, 2000)
	for i := range rules {
		rules[i] = randomRule(random)
	}
	input, err := json.Marshal(map[string]any{
		"rules": rules,
		"creds": map[string]any{
			"user_id": "u1", "project_id": "p1", "roles": []string{"Admin", "member"}, "service_roles": []string{"service", "reader"},
			"project_domain_id": "default", "service_user_id": "nova", "project": map[string]any{"id": "p1", "domain": map[string]string{"id": "default"}},
		},
		"target": map[string]any{
			"project_id": "p1", "owner": "p1", "visibility": "public", "role": "MEMBER", "protected": true, "min_disk": 3, "half": "1",
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), python, "testdata/oslo.py")
	cmd.Stdin, cmd.Stderr = bytes.NewReader(input), os.Stderr
	output, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var theirs []*bool
	if err := json.Unmarshal(output, &theirs); err != nil || len(theirs) != len(rules) {
		t.Fatalf("%d answers, %v", len(theirs), err)
	}
	own := map[string]any{"helper": "role:member and not role:nope"}
	for i, rule := range rules {
		own[fmt.Sprintf("r%d", i)] = rule
	}
	log := new(bytes.Buffer)
	ours, err := compile(own, nil, hclog.New(&hclog.LoggerOptions{Output: log, Level: hclog.Error}))
	if err != nil {
		t.Fatal(err)
	}
	agreed, allowed, mistakes := 0, 0, 0
	for i, rule := range rules {
		name := fmt.Sprintf("r%d", i)
		got := ours.allowed(alice(), name, sunset())
		switch {
		case strings.Contains(log.String(), "rule="+name+" "):
			mistakes++ // we deny, whatever they do
		case theirs[i] == nil || got != *theirs[i]:
			t.Errorf("%q: %v here, %v there", rule, got, theirs[i])
		default:
			agreed++
		}
		if got {
			allowed++
		}
	}
	t.Logf("%d rules are decided alike, %d are mistakes here; %d allow", agreed, mistakes, allowed)
	if agreed < len(rules)/2 || allowed < len(rules)/10 {
		t.Error("the rules were not worth comparing")
	}
}

// atoms are checks of every kind, right and wrong ones.
var atoms = []string{
	"@", "!", "role:admin", "role:ADMIN", "role:nope", "role:%(role)s", "role:%(missing)s", "rule:helper", "rule:context_is_admin", "rule:missing",
	"project_id:%(owner)s", "project_id:p%(half)s", "project_id:%(missing)s", "user_id:u1", "user_id:%(owner)s", "roles:member", "roles:MEMBER",
	"service_roles:service", "service_roles:nope", "'public':%(visibility)s", `"private":%(visibility)s`, "public:%(visibility)s",
	"True:%(protected)s", "False:%(protected)s", "3:%(min_disk)s", "4:%(min_disk)s", "project.domain.id:default", "project.id:%(owner)s", "project.name:x",
	"unknown:x", "service_user_id:nova", "project_id:100%%", "'it':it",
	"foo", "role:", "'x:%(y)s",
}

func randomRule(r *rand.Rand) any {
	if r.IntN(5) > 0 {
		return randomText(r, 4)
	}
	rule := []any{}
	for range r.IntN(4) {
		if r.IntN(3) == 0 {
			rule = append(rule, atoms[r.IntN(len(atoms))])
			continue
		}
		inner := []any{}
		for range r.IntN(4) {
			inner = append(inner, atoms[r.IntN(len(atoms))])
		}
		rule = append(rule, inner)
	}
	return rule
}

func randomText(r *rand.Rand, depth int) string {
	if depth == 0 {
		return atoms[r.IntN(len(atoms))]
	}
	text := randomText(r, depth-1)
	switch r.IntN(8) {
	case 0, 1:
		return text + []string{" and ", " AND ", "  and\t"}[r.IntN(3)] + randomText(r, depth-1)
	case 2, 3:
		return text + []string{" or ", " Or "}[r.IntN(2)] + randomText(r, depth-1)
	case 4:
		return "not " + text
	case 5:
		return "(" + text + ")"
	case 6:
		return "( " + text + " )"
	default:
		return text
	}
}
