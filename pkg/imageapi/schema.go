package imageapi

import (
	"embed"
	"io/fs"
	"net/http"
	"path"
	"strings"
)

//go:embed schemas
var schemaFiles embed.FS

// registerSchemas adds a route for each schema.
func registerSchemas(rt *Router) {
	_ = fs.WalkDir(schemaFiles, "schemas", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		b, err := schemaFiles.ReadFile(name)
		if err != nil {
			return err
		}
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
