package pki

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

func TestJoinToken(t *testing.T) {
	fingerprint := testCA(t).Fingerprint()
	token := NewJoinToken("dcn0", fingerprint)
	got, err := ParseJoinToken("token", " "+token.String()+"\n")
	if err != nil || got != token {
		t.Errorf("got %+v, %v", got, err)
	}
	if NewJoinToken("dcn0", fingerprint).Secret == token.Secret {
		t.Error("two tokens share a secret")
	}
	body := func(s string) string { return tokenPrefix + base64.RawURLEncoding.EncodeToString([]byte(s)) }
	for name, bad := range map[string]string{
		"empty":        "",
		"no prefix":    strings.TrimPrefix(token.String(), tokenPrefix),
		"cut":          token.String()[:len(token.String())-8],
		"no base64":    tokenPrefix + "!!!",
		"bad site":     body("Bad Site\n" + token.Secret + "\n" + fingerprint),
		"short secret": body("dcn0\nabcd\n" + fingerprint),
		"no hex":       body("dcn0\n" + strings.Repeat("z", 64) + "\n" + fingerprint),
		"one part":     body("dcn0"),
		"four parts":   body("dcn0\n" + token.Secret + "\n" + fingerprint + "\nx"),
	} {
		_, err := ParseJoinToken("token", bad)
		e, ok := fault.As(err)
		if !ok || len(e.Fields) != 1 || e.Fields[0].Name != "token" {
			t.Errorf("%s: got %v", name, err)
		} else if strings.Contains(err.Error(), token.Secret) || bad != "" && strings.Contains(err.Error(), bad) {
			t.Errorf("%s: the error repeats the token", name)
		}
	}
}
