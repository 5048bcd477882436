package glance

import (
	"sync"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/pkg/image"
	"github.com/atoll-dcn/atoll/pkg/imageapi"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// Index is the images of the catalog as the Image API shows them, made once per change and then read from memory. It
// implements imageapi.Source.
//
// Changes are taken over by whoever reads next, so a read shows everything that was acknowledged before it: the catalog
// announces a change before the commit that made it returns. The Index needs no goroutine. Its methods run at the same
// time and block only on each other.
type Index struct {
	catalog *catalog.Catalog
	sub     catalog.Subscription

	mu     sync.Mutex
	images map[image.ID]*imageapi.Image
	// sorted lags behind images by moved, which holds for each image that differs what sorted has of it, nil when it has
	// nothing.
	sorted imageapi.Sequence
	moved  map[image.ID]*imageapi.Image
	// running are the operations that are not done, with their images: the end of one may be noticed when its record is gone.
	running map[image.ID]image.ID
}

// NewIndex returns an index of the catalog's images. Close it when done.
func NewIndex(c *catalog.Catalog) *Index {
	x := &Index{catalog: c, sub: c.Subscribe()}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.rebuild()
	return x
}

// Close ends the index's subscription. Later reads show what is known by then.
func (x *Index) Close() { x.sub.Close() }

// Image returns an image, nil when there is none.
func (x *Index) Image(id image.ID) *imageapi.Image {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.catchUp()
	return x.images[id]
}

// Images returns all images.
func (x *Index) Images() imageapi.Sequence {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.catchUp()
	if len(x.moved) > 0 {
		x.resort()
	}
	return x.sorted
}

// catchUp takes over what has changed since the last read.
func (x *Index) catchUp() {
	select {
	case <-x.sub.C():
	default:
		return
	}
	keys, reset := x.sub.Take()
	if reset {
		x.rebuild()
		return
	}
	for id := range x.touched(keys) {
		x.update(id)
	}
}

// touched returns the images that changed records are about.
func (x *Index) touched(keys []catalog.Key) map[image.ID]struct{} {
	ids := make(map[image.ID]struct{}, len(keys))
	for _, k := range keys {
		switch k.Kind {
		case catalog.KindImage:
			ids[image.ID(k.ID)] = struct{}{}
		case catalog.KindReplica:
			ids[k.Image] = struct{}{}
		case catalog.KindOperation:
			op, _ := x.catalog.Read().Operation(image.ID(k.ID))
			if id := x.follow(image.ID(k.ID), op); id != "" {
				ids[id] = struct{}{}
			}
		}
	}
	return ids
}

// follow keeps the list of running operations and returns the image of op, which is nil when its record is gone.
func (x *Index) follow(id image.ID, op *storev1.Operation) image.ID {
	about, known := x.running[id]
	if op != nil {
		about = image.ID(op.ImageId)
	}
	switch {
	case op.GetState() == storev1.OperationState_OPERATION_STATE_RUNNING:
		x.running[id] = about
	case known:
		delete(x.running, id)
	}
	return about
}

// update makes one image anew.
func (x *Index) update(id image.ID) {
	old := x.images[id]
	if record, rev := x.catalog.Read().Image(id); visible(record) {
		x.images[id] = present(x.catalog, record, rev)
	} else {
		delete(x.images, id)
	}
	if _, noted := x.moved[id]; !noted {
		x.moved[id] = old
	}
}

// rebuild makes everything anew.
func (x *Index) rebuild() {
	r := x.catalog.Read()
	x.running = map[image.ID]image.ID{}
	for _, op := range r.Operations() {
		x.follow(image.ID(op.Id), op)
	}
	records := r.Images()
	x.images = make(map[image.ID]*imageapi.Image, len(records))
	all := make([]*imageapi.Image, 0, len(records))
	x.moved = map[image.ID]*imageapi.Image{}
	for _, found := range records {
		id := image.ID(found.Id)
		record, rev := r.Image(id) // the latest, with its revision
		if !visible(record) {
			continue
		}
		x.images[id] = present(x.catalog, record, rev)
		all = append(all, x.images[id])
	}
	x.sorted = imageapi.NewSequence(all)
}

// resort brings sorted up to date at the cost of what has moved.
func (x *Index) resort() {
	var out, in []*imageapi.Image
	for id, old := range x.moved {
		if old != nil {
			out = append(out, old)
		}
		if img := x.images[id]; img != nil {
			in = append(in, img)
		}
	}
	x.sorted = x.sorted.With(out, in)
	clear(x.moved)
}

// visible reports whether users can see an image.
func visible(record *storev1.Image) bool {
	return record != nil && record.Status != storev1.ImageStatus_IMAGE_STATUS_DELETED
}
