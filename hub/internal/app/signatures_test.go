package app

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/atoll-dcn/atoll/hub/internal/trust"
	"github.com/atoll-dcn/atoll/pkg/auth/keystone"
	"github.com/atoll-dcn/atoll/pkg/fault"
)

func TestSignatureFlags(t *testing.T) {
	dir, broken := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(broken, "crl.pem"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	k, err := keystone.New(keystone.Options{AuthURL: "http://127.0.0.1:1", Username: "u", Project: "p", Password: "x"})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name     string
		c        SignatureConfig
		keystone bool
		wrong    string // flag
	}{
		{name: "nothing"},
		{name: "directory", c: SignatureConfig{TrustDir: dir}},
		{name: "no directory", c: SignatureConfig{TrustDir: filepath.Join(dir, "none")}, wrong: "signature-trust-dir"},
		{name: "broken directory", c: SignatureConfig{TrustDir: broken}, wrong: "signature-trust-dir"},
		{name: "unchained without a key manager", c: SignatureConfig{TrustDir: dir, Unchained: true}, wrong: "signature-unchained"},
		{name: "unchained", c: SignatureConfig{Unchained: true}, keystone: true},
		{name: "required", c: SignatureConfig{Required: true, TrustDir: dir}},
		{name: "required with a key manager", c: SignatureConfig{Required: true}, keystone: true},
		{name: "required of nobody", c: SignatureConfig{Required: true}, wrong: "require-signatures"},
		{name: "odd interface", c: SignatureConfig{Interface: "private"}, wrong: "key-manager-interface"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := &access{}
			if tt.keystone {
				a.regions = k
			}
			if tt.c.Interface == "" {
				tt.c.Interface = "public"
			}
			s, err := openSignatures(Config{Signature: tt.c}, a, hclog.NewNullLogger())
			if tt.wrong != "" {
				if !fault.Is(err, fault.Invalid) || !strings.HasPrefix(err.Error(), tt.wrong) {
					t.Errorf("%v, want one about %s", err, tt.wrong)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			_, err = s.Prepare(t.Context(), nil, nil)
			if want := map[bool]string{true: trust.ReasonRequired, false: ""}[tt.c.Required]; err == nil && want != "" || err != nil && fault.ReasonOf(err) != want {
				t.Errorf("unsigned: %v", err)
			}
		})
	}
}
