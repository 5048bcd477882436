package policy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
)

const (
	askTimeout   = 2 * time.Second
	askAtOnce    = 16
	maxAnswer    = 64 // bytes of an answer
	allowedReply = "True"
)

// asker sends http checks to services that decide about access.
type asker struct {
	client  *http.Client
	timeout time.Duration
	slots   chan struct{}
	log     hclog.Logger
}

func newAsker(client *http.Client, timeout time.Duration, log hclog.Logger) *asker {
	own := *client
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	if timeout <= 0 {
		timeout = askTimeout
	}
	return &asker{client: &own, timeout: timeout, slots: make(chan struct{}, askAtOnce), log: log}
}

// httpCheck compiles "http://host/path": a POST that allows by answering 200 with the text True.
func (c *compiler) httpCheck(scheme string, match template) (check, error) {
	if c.asker == nil {
		return nil, errors.New("http checks are not switched on")
	}
	host, ok := strings.CutPrefix(match[0].text, "//")
	if !ok || match[0].attribute || strings.HasPrefix(host, "/") || host == "" || (len(match) > 1 && !strings.Contains(host, "/")) {
		return nil, errors.New("an http check is a URL whose host is fixed")
	}
	a := c.asker
	return func(q *question) bool {
		rest, ok := match.fillEscaped(q)
		if !ok {
			return false
		}
		allowed, err := a.ask(scheme+":"+rest, q)
		if err != nil {
			a.log.Warn("an http check of a policy rule failed and denies", "rule", q.rule, "error", err)
		}
		return allowed
	}, nil
}

// ask sends the question and reads the answer. A service that does not answer in time denies.
func (a *asker) ask(to string, q *question) (bool, error) {
	ctx, cancel := context.WithTimeout(context.Background(), a.timeout) //nolint:forbidigo // a decision has no context; the time is bounded here
	defer cancel()
	select {
	case a.slots <- struct{}{}:
		defer func() { <-a.slots }()
	case <-ctx.Done():
		return false, ctx.Err()
	}
	form := url.Values{"rule": {encode(q.rule)}, "target": {encode(targetOf(q))}, "credentials": {encode(credentialsOf(q))}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader([]byte(form.Encode())))
	if err != nil {
		return false, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := a.client.Do(req)
	if err != nil {
		return false, err
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if err != nil {
		return false, err
	}
	if len(body) > maxAnswer {
		return false, errors.New("the answer is too long")
	}
	return res.StatusCode == http.StatusOK && strings.Trim(string(body), "\"' \r\n") == allowedReply, nil
}

// targetAttributes are what an http check tells about an image.
var targetAttributes = []string{
	"id", "image_id", "name", "owner", "project_id", "member_id", "status", "visibility", "protected", "os_hidden",
	"disk_format", "container_format", "min_disk", "min_ram", "size", "virtual_size", "checksum", "created_at", "updated_at",
}

func targetOf(q *question) map[string]string {
	m := make(map[string]string, len(targetAttributes))
	for _, name := range targetAttributes {
		if v, ok := q.attribute(name); ok {
			m[name] = v
		}
	}
	return m
}

func credentialsOf(q *question) map[string]any {
	m := make(map[string]any, len(credentials))
	for name, value := range credentials {
		if v := value(q.caller); v != "" && !strings.Contains(name, ".") {
			m[name] = v
		}
	}
	m["roles"], m["service_roles"] = q.caller.Roles, q.caller.ServiceRoles
	return m
}

func encode(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		return "null" // texts and lists of texts always encode
	}
	return string(text)
}
