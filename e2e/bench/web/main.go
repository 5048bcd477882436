// Command web serves the files of a directory over HTTP, with ranges and ETags, as mirrors do.
package main

import (
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
)

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: web ADDRESS DIR")
	}
	l, err := net.Listen("tcp", os.Args[1]) //nolint:noctx // it serves until it is killed
	if err != nil {
		log.Fatal(err)
	}
	files := http.FileServer(http.Dir(os.Args[2]))
	err = http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { //nolint:gosec // for a benchmark on loopback
		if info, err := os.Stat(filepath.Join(os.Args[2], filepath.Base(r.URL.Path))); err == nil {
			w.Header().Set("ETag", fmt.Sprintf(`"%x-%x"`, info.ModTime().UnixNano(), info.Size()))
		}
		files.ServeHTTP(w, r)
	}))
	log.Fatal(err)
}
