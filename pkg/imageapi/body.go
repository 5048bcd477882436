package imageapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/atoll-dcn/atoll/pkg/fault"
	"github.com/atoll-dcn/atoll/pkg/image"
)

// WriteJSON answers with v as JSON. v is made by the program and always encodes.
func WriteJSON(w http.ResponseWriter, code int, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	writeBytes(w, code, b)
	return nil
}

func writeBytes(w http.ResponseWriter, code int, b []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(b))) // else a large one goes out in chunks, with more system calls
	w.WriteHeader(code)
	_, _ = w.Write(b) //nolint:gosec // JSON that no browser renders; and a client that left needs no answer
}

// NoBody returns an Invalid error if the request carries a body. For one of unknown length it waits for the first byte.
func NoBody(r *http.Request) error {
	if r.ContentLength < 0 {
		if n, err := io.ReadFull(r.Body, make([]byte, 1)); n == 0 && errors.Is(err, io.EOF) {
			return nil
		}
	}
	if r.ContentLength != 0 {
		return fault.New(fault.Invalid, "BODY_NOT_EXPECTED", "A body is not expected with this request.")
	}
	return nil
}

// ParseID returns the path value "id". What is no UUID names no image: NotFound.
func ParseID(r *http.Request) (image.ID, error) {
	text := r.PathValue("id")
	id, ok := parseID(text)
	if !ok {
		return "", noImage(clip(text))
	}
	return id, nil
}

// parseID reads a UUID, which clients may write in upper case.
func parseID(text string) (image.ID, bool) {
	id, err := image.ParseID("id", strings.ToLower(text))
	return id, err == nil
}

// ReadJSON reads the body as JSON into v, at most limit bytes (0: MaxJSON). Errors: Invalid when it is no JSON object or
// list that v can hold, is nested deeper than MaxJSONDepth, is not UTF-8, or holds NUL or a character beyond U+FFFF;
// 413 when it is larger; 408 when it does not arrive in time.
func ReadJSON(r *http.Request, limit int64, v any) error {
	b, err := readBody(r, limit)
	if err != nil {
		return err
	}
	if err := checkJSON(b); err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		var mistake *json.UnmarshalTypeError
		if errors.As(err, &mistake) && mistake.Field != "" {
			return fault.BadField(clip(mistake.Field), "a value of another type is needed than %s", clip(mistake.Value))
		}
		return malformed()
	}
	return nil
}

func malformed() error {
	return fault.New(fault.Invalid, "MALFORMED_JSON", "Malformed JSON in request body.")
}

func readBody(r *http.Request, limit int64) ([]byte, error) {
	if limit <= 0 {
		limit = MaxJSON
	}
	if r.ContentLength > limit {
		return nil, tooLarge(limit)
	}
	b, err := io.ReadAll(io.LimitReader(r.Body, limit+1))
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, Status(fault.Wrap(err, fault.Invalid, "BODY_SLOW", "the body did not arrive in time"), http.StatusRequestTimeout)
	case err != nil:
		return nil, fault.Wrap(err, fault.Invalid, "BODY_CUT", "the body ended early")
	case int64(len(b)) > limit:
		return nil, tooLarge(limit)
	}
	return b, nil
}

func tooLarge(limit int64) error {
	return fault.New(fault.Exhausted, "BODY_TOO_LARGE", "the body may have at most %d bytes", limit)
}

// checkJSON checks what the decoder would let pass: other things than objects and lists, depth, and characters.
func checkJSON(b []byte) error {
	trimmed := bytes.TrimLeft(b, " \t\r\n")
	if len(trimmed) == 0 || trimmed[0] != '{' && trimmed[0] != '[' {
		return malformed()
	}
	if !utf8.Valid(b) {
		return fault.New(fault.Invalid, "NOT_UTF8", "the body is not UTF-8")
	}
	tokens := json.NewDecoder(bytes.NewReader(b))
	for depth := 0; ; {
		token, err := tokens.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return malformed()
		}
		switch t := token.(type) {
		case json.Delim:
			if t == '{' || t == '[' {
				depth++
			} else {
				depth--
			}
			if depth > MaxJSONDepth {
				return fault.New(fault.Invalid, "JSON_TOO_DEEP", "the body is nested more than %d levels deep", MaxJSONDepth)
			}
		case string:
			if err := CheckText("body", t); err != nil {
				return err
			}
		}
	}
}

// CheckText returns an Invalid error naming the field if s is not UTF-8 or holds NUL or a character beyond U+FFFF, which
// the API has never accepted.
func CheckText(field, s string) error {
	for _, c := range []byte(s) {
		switch {
		case c == 0:
			return fault.BadField(field, "the character NUL is not allowed")
		case c >= 0xF0:
			return fault.BadField(field, "characters of four bytes in UTF-8 are not allowed")
		}
	}
	if !utf8.ValidString(s) {
		return fault.BadField(field, "the text is not UTF-8")
	}
	return nil
}

// clip bounds what of a bad value is repeated in an error.
func clip(s string) string { return clipTo(s, 64) }

// clipTo bounds s to most bytes without cutting a character.
func clipTo(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for i := most; i > most-utf8.UTFMax; i-- {
		if utf8.RuneStart(s[i]) {
			return s[:i] + "..."
		}
	}
	return s[:most] + "..."
}
