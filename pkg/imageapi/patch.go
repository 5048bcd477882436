package imageapi

import (
	"encoding/json"
	"mime"
	"net/http"
	"strings"

	"github.com/atoll-dcn/atoll/pkg/fault"
)

// The media types of patches.
const (
	PatchV21 = "application/openstack-images-v2.1-json-patch"
	PatchV20 = "application/openstack-images-v2.0-json-patch"
)

// PatchOp is one operation of a patch.
type PatchOp struct {
	Op     string          // "add", "replace" or "remove"
	Path   []string        // unescaped: the attribute, and below "locations" a position or "-"
	Value  json.RawMessage // nil for remove
	Draft4 bool            // in the old form, where adding what is there is a conflict
}

// ReadPatch reads the patch in the body: a list of operations that may be empty. Errors: 415 for another media type (the
// answer carries Accept-Patch), else those of ReadJSON, and Invalid for operations and paths that are not allowed.
func ReadPatch(r *http.Request) ([]PatchOp, error) {
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != PatchV21 && media != PatchV20 {
		return nil, &acceptPatch{Status(fault.New(fault.Invalid, "UNSUPPORTED_MEDIA_TYPE",
			"the media type of a patch is %s or %s", PatchV21, PatchV20), http.StatusUnsupportedMediaType)}
	}
	var raw []map[string]json.RawMessage
	if err := ReadJSON(r, 0, &raw); err != nil {
		return nil, err
	}
	if len(raw) > MaxPatchOps {
		return nil, fault.New(fault.Exhausted, "PATCH_TOO_LONG", "a patch may have at most %d operations", MaxPatchOps)
	}
	ops := make([]PatchOp, 0, len(raw))
	for _, change := range raw {
		parse := parseDraft10
		if media == PatchV20 {
			parse = parseDraft4
		}
		op, err := parse(change)
		if err != nil {
			return nil, err
		}
		ops = append(ops, op)
	}
	return ops, nil
}

// acceptPatch is the answer to a patch of another media type.
type acceptPatch struct{ error }

// Unwrap returns the error itself.
func (e *acceptPatch) Unwrap() error { return e.error }

// Header adds what the answer says besides its status.
func (*acceptPatch) Header(h http.Header) { h.Set("Accept-Patch", PatchV21+", "+PatchV20) }

var opNames = []string{"add", "replace", "remove"}

func badPatch(format string, args ...any) error {
	return fault.New(fault.Invalid, "INVALID_PATCH", format, args...)
}

// parseDraft10 reads {"op": "add", "path": "/name", "value": ...}.
func parseDraft10(change map[string]json.RawMessage) (PatchOp, error) {
	var op PatchOp
	if change == nil {
		return op, badPatch("Operations must be JSON objects.")
	}
	if err := json.Unmarshal(change["op"], &op.Op); err != nil {
		return op, badPatch("Unable to find 'op' in JSON Schema change. It must be one of add, replace, remove.")
	}
	var path string
	if err := json.Unmarshal(change["path"], &path); err != nil {
		return op, badPatch("Unable to find 'path' in JSON Schema change")
	}
	return op.complete(path, change)
}

// parseDraft4 reads {"add": "/name", "value": ...}.
func parseDraft4(change map[string]json.RawMessage) (PatchOp, error) {
	op := PatchOp{Draft4: true}
	if change == nil {
		return op, badPatch("Operations must be JSON objects.")
	}
	var path string
	for _, name := range opNames {
		raw, ok := change[name]
		if !ok {
			continue
		}
		if op.Op != "" {
			return op, badPatch("Operation objects must contain only one member named \"add\", \"remove\", or \"replace\".")
		}
		op.Op = name
		if err := json.Unmarshal(raw, &path); err != nil {
			return op, badPatch("the path of an operation is a string")
		}
	}
	if op.Op == "" {
		return op, badPatch("Operation objects must contain exactly one member named \"add\", \"remove\", or \"replace\".")
	}
	return op.complete(path, change)
}

func (op PatchOp) complete(path string, change map[string]json.RawMessage) (PatchOp, error) {
	switch op.Op {
	case "add", "replace":
		value, ok := change["value"]
		if !ok {
			return op, badPatch("Operation \"%s\" requires a member named \"value\".", op.Op)
		}
		op.Value = value
	case "remove":
	default:
		return op, badPatch("Operations must be one of \"add\", \"remove\", or \"replace\".")
	}
	var err error
	op.Path, err = parsePointer(path)
	if err != nil {
		return op, err
	}
	return op, checkDepth(op)
}

// parsePointer splits a JSON pointer, which is stricter here than in its standard: no empty parts.
func parsePointer(pointer string) ([]string, error) {
	switch {
	case len(pointer) > maxPointer:
		return nil, badPatch("the pointer is longer than %d bytes", maxPointer)
	case !strings.HasPrefix(pointer, "/"):
		return nil, badPatch("Pointer `%s` does not start with \"/\".", clip(pointer))
	case strings.Contains(pointer, "//"):
		return nil, badPatch("Pointer `%s` contains adjacent \"/\".", clip(pointer))
	case strings.HasSuffix(pointer, "/"):
		return nil, badPatch("Pointer `%s` ends with \"/\".", clip(pointer))
	}
	parts := strings.Split(pointer[1:], "/")
	for i, part := range parts {
		rest := strings.ReplaceAll(strings.ReplaceAll(part, "~0", ""), "~1", "")
		if strings.Contains(rest, "~") {
			return nil, badPatch("Pointer `%s` contains \"~\" not part of a known escape sequence.", clip(pointer))
		}
		parts[i] = strings.ReplaceAll(strings.ReplaceAll(part, "~1", "/"), "~0", "~")
	}
	return parts, nil
}

// checkDepth allows one part, and two below locations for what adds or removes one of them.
func checkDepth(op PatchOp) error {
	deep := op.Path[0] == "locations" && op.Op != "replace"
	switch {
	case len(op.Path) == 1 && !deep, len(op.Path) == 2 && deep:
		return nil
	}
	return badPatch("Invalid JSON pointer for this resource: '/%s'", clip(strings.Join(op.Path, "/")))
}
