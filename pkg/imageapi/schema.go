package imageapi

import (
	"bytes"
	"embed"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"regexp"
	"strings"

	"github.com/atoll-dcn/atoll/pkg/image"
)

//go:embed schemas
var schemaFiles embed.FS

// nameFormats returns a schema in which an attribute, if it is there, has one of the formats, or none.
func nameFormats(schema []byte, attribute string, formats []string) []byte {
	list := regexp.MustCompile(`("` + attribute + `": \{[^{}]*"enum": \[\s*null)((,\s*)"[^\]]*")(\s*\])`)
	return list.ReplaceAllFunc(schema, func(found []byte) []byte {
		part := list.FindSubmatch(found)
		out := bytes.Clone(part[1])
		for _, f := range formats {
			out = append(out, fmt.Sprintf("%s%q", part[3], f)...)
		}
		return append(out, part[4]...)
	})
}

// registerSchemas adds a route for each schema.
func registerSchemas(rt *Router, formats image.Formats) {
	_ = fs.WalkDir(schemaFiles, "schemas", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		b, err := schemaFiles.ReadFile(name)
		if err != nil {
			return err
		}
		b = nameFormats(b, "disk_format", formats.Disk())
		b = nameFormats(b, "container_format", formats.Container())
		rt.Handle(http.MethodGet, path.Join("/v2", strings.TrimSuffix(name, ".json")), func(w http.ResponseWriter, r *http.Request) error {
			if err := NoBody(r); err != nil {
				return err
			}
			writeBytes(w, http.StatusOK, b)
			return nil
		})
		return nil
	})
}
