package auth

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/atoll-dcn/atoll/pkg/image"
)

// Bounds on a file of tokens.
const (
	maxTokenFile = 1 << 20 // bytes
	maxTokens    = 1000
	minToken     = 16 // characters of a token in plain text
)

// tokenFile is what a file of tokens holds, as YAML or JSON.
type tokenFile struct {
	Tokens []tokenEntry `json:"tokens"`
}

// tokenEntry is one token and whom it belongs to.
type tokenEntry struct {
	// Token is the token itself, or "sha256:" and its SHA-256 in hex, which does not give the token away.
	Token   string   `json:"token"`
	User    string   `json:"user"`
	Project string   `json:"project"`
	Roles   []string `json:"roles"` // "admin" implies "member", which implies "reader"
	// Service lets the token be sent as a service token, as Nova and Cinder do.
	Service bool   `json:"service"`
	Site    string `json:"site"`
	// Expires is a time in RFC 3339; empty: the token works for ever.
	Expires string `json:"expires"`
}

// stamp tells one state of a file from another.
type stamp struct {
	modified time.Time
	size     int64
	mode     fs.FileMode
	missing  bool
}

func stampOf(file string) stamp {
	info, err := os.Stat(file)
	if err != nil {
		return stamp{missing: true}
	}
	return stamp{modified: info.ModTime(), size: info.Size(), mode: info.Mode()}
}

// readTokens reads a file. The stamp is that of the file before it was read, and is there with an error too.
func readTokens(file string) ([]known, stamp, error) {
	seen := stampOf(file)
	list, err := parseTokens(file)
	if err != nil {
		return nil, seen, fmt.Errorf("file of tokens %s: %w", file, err)
	}
	return list, seen, nil
}

func parseTokens(file string) ([]known, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, errors.Unwrap(err)
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	if mode := info.Mode().Perm(); mode&0o037 != 0 {
		return nil, fmt.Errorf("its mode is %04o; only the owner may write it and only the owner and the group may read it (0600 or 0640)", mode)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxTokenFile+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxTokenFile {
		return nil, fmt.Errorf("larger than %d bytes", maxTokenFile)
	}
	return decodeTokens(text)
}

func decodeTokens(text []byte) ([]known, error) {
	// The errors of the decoders are not passed on: they may quote a token.
	plain, err := yaml.YAMLToJSONStrict(text)
	if err != nil {
		return nil, errors.New("not YAML, or a key is there twice")
	}
	var content tokenFile
	d := json.NewDecoder(bytes.NewReader(plain))
	d.DisallowUnknownFields()
	if err := d.Decode(&content); err != nil {
		return nil, errors.New("it holds \"tokens\", a list of entries with token, user, project, roles, service, site and expires")
	}
	if len(content.Tokens) > maxTokens {
		return nil, fmt.Errorf("more than %d tokens", maxTokens)
	}
	list := make([]known, 0, len(content.Tokens))
	seen := make(map[[sha256.Size]byte]bool, len(content.Tokens))
	for i := range content.Tokens {
		k, err := content.Tokens[i].parse()
		if err != nil {
			return nil, fmt.Errorf("tokens[%d]: %w", i, err)
		}
		if seen[k.digest] {
			return nil, fmt.Errorf("tokens[%d]: the token is there twice", i)
		}
		seen[k.digest] = true
		list = append(list, k)
	}
	return list, nil
}

func (e *tokenEntry) parse() (known, error) {
	digest, err := parseDigest(e.Token)
	if err != nil {
		return known{}, err
	}
	if e.User == "" || e.Project == "" {
		return known{}, errors.New("user and project are needed")
	}
	c := &Caller{
		UserID: e.User, UserName: e.User, UserDomainID: "default",
		ProjectID: e.Project, ProjectName: e.Project, ProjectDomainID: "default",
		Roles: withImplied(e.Roles),
	}
	if e.Site != "" {
		if c.Site, err = image.ParseSiteID("site", e.Site); err != nil {
			return known{}, errors.New("site: not the name of a site")
		}
	}
	if e.Expires != "" {
		if c.Expires, err = time.Parse(time.RFC3339, e.Expires); err != nil {
			return known{}, errors.New("expires: not a time such as 2027-01-31T12:00:00Z")
		}
	}
	return known{digest: digest, caller: c, service: e.Service}, nil
}

func parseDigest(token string) (digest [sha256.Size]byte, err error) {
	text, hashed := strings.CutPrefix(token, "sha256:")
	if !hashed {
		if len(token) < minToken {
			return digest, fmt.Errorf("token: at least %d characters are needed", minToken)
		}
		return sha256.Sum256([]byte(token)), nil
	}
	if n, err := hex.Decode(digest[:], []byte(text[:min(len(text), 2*len(digest))])); err != nil || n != len(digest) || len(text) != 2*n {
		return digest, errors.New("token: \"sha256:\" is followed by 64 hexadecimal digits")
	}
	return digest, nil
}

// withImplied returns roles in lower case with those that Keystone would add to them.
func withImplied(roles []string) []string {
	list := make([]string, 0, len(roles)+2)
	add := func(role string) {
		if role != "" && !slices.Contains(list, role) {
			list = append(list, role)
		}
	}
	for _, role := range roles {
		switch role = strings.ToLower(strings.TrimSpace(role)); role {
		case "admin":
			add("admin")
			add("member")
			add("reader")
		case "member":
			add("member")
			add("reader")
		default:
			add(role)
		}
	}
	return list
}
