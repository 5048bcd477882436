package imageapi

import "net/http"

// show answers with one image.
func (rd *Reads) show(w http.ResponseWriter, r *http.Request) error {
	if err := NoBody(r); err != nil {
		return err
	}
	img, c, err := rd.Find(r, "get_image")
	if err != nil {
		return err
	}
	return rd.WriteImage(w, http.StatusOK, c, img)
}
