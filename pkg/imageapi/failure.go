package imageapi

import (
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

// notAllowed is the answer to a method that a path does not have.
type notAllowed struct{ methods []string }

// Error says what it is.
func (e *notAllowed) Error() string { return "The method is not allowed for this resource." }

// As makes it a fault with a status of its own.
func (e *notAllowed) As(target any) bool {
	switch t := target.(type) {
	case **fault.Error:
		*t = fault.New(fault.Invalid, "METHOD_NOT_ALLOWED", "%s", e.Error())
	case **statusError:
		*t = &statusError{error: e, code: http.StatusMethodNotAllowed}
	default:
		return false
	}
	return true
}

// Header adds the methods that the path has.
func (e *notAllowed) Header(h http.Header) { h.Set("Allow", strings.Join(e.methods, ", ")) }

// header is an error that adds to the headers of its answer.
type header interface {
	error
	Header(h http.Header)
}

// writeError answers with an error: its status, and its public text in the form that the client accepts.
func writeError(w http.ResponseWriter, r *http.Request, err error) {
	code := StatusOf(err)
	h := w.Header()
	var more header
	if errors.As(err, &more) {
		more.Header(h)
	}
	if code == http.StatusServiceUnavailable && h.Get("Retry-After") == "" {
		h.Set("Retry-After", "5")
	}
	h.Del("Content-Length")
	name := http.StatusText(code)
	number := strconv.Itoa(code) + " " + name
	text := fault.Public(err)
	kind := errorType(r.Header.Values("Accept"))
	h.Set("Content-Type", kind)
	var body []byte
	switch kind {
	case htmlType:
		body = []byte("<html>\n<head><title>" + number + "</title></head>\n<body>\n<h1>" + number + "</h1>\n<p>" +
			markup.Replace(text) + "</p>\n</body>\n</html>\n")
	case plainType:
		body = []byte(number + "\n\n" + text + "\n")
	default:
		body = appendPair(append(body, '{'), "message", text)
		body = appendPair(append(body, ','), "code", number)
		body = appendPair(append(body, ','), "title", name)
		body = append(body, '}')
	}
	if r.ContentLength != 0 { // the answer ends before the request does, see linger
		h.Set("Content-Length", strconv.Itoa(len(body)))
	}
	w.WriteHeader(code)
	_, _ = w.Write(body) // a client that left needs no answer
}

// The media types of errors.
const (
	jsonType  = "application/json"
	htmlType  = "text/html; charset=UTF-8"
	plainType = "text/plain; charset=UTF-8"
)

// markup makes text of an element in HTML. Quotes may stay: clients show the page's source to people.
var markup = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

// errorType chooses the media type of an error: JSON unless the client accepts nothing but text, or anything without saying
// that JSON is fine. The latter is python-glanceclient, which reads errors in HTML and text but no JSON of this shape.
func errorType(accept []string) string {
	chosen := ""
	for _, line := range accept {
		for item := range strings.SplitSeq(line, ",") {
			media, _, _ := strings.Cut(item, ";")
			switch strings.ToLower(strings.TrimSpace(media)) {
			case "":
			case "text/html", "application/xhtml+xml", "*/*":
				chosen = htmlType
			case "text/plain", "text/*":
				if chosen == "" {
					chosen = plainType
				}
			default:
				return jsonType
			}
		}
	}
	if chosen == "" {
		return jsonType
	}
	return chosen
}
