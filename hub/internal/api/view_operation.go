package api

import (
	"github.com/atoll-dcn/atoll/pkg/auth"
	"github.com/atoll-dcn/atoll/pkg/image"
	hubv1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/hub/v1"
	storev1 "github.com/atoll-dcn/atoll/proto/gen/go/atoll/store/v1"
)

// operationMessage converts a record into what the caller may see of it and adds live figures.
func (v *view) operationMessage(c *auth.Caller, o *storev1.Operation) *hubv1.Operation {
	m := &hubv1.Operation{
		Id: o.Id, Kind: hubv1.OperationKind(o.Kind), ImageId: o.ImageId, State: hubv1.OperationState(o.State),
		CreateTime: o.CreateTime, EndTime: o.EndTime, AllMustSucceed: o.AllMustSucceed,
		Error: errorMessage(o.Error), Notes: o.Notes,
		UserId: o.Requester.GetUserId(), ProjectId: o.Requester.GetProjectId(), RequestId: o.Requester.GetRequestId(),
	}
	for _, part := range o.Stores {
		r, _ := v.read().Replica(image.ID(o.ImageId), image.StoreID(part.StoreId))
		m.Stores = append(m.Stores, &hubv1.StoreResult{
			StoreId: part.StoreId, State: hubv1.OperationState(part.State), Error: errorMessage(part.Error), Replica: v.replicaMessage(c, r),
		})
	}
	switch o.Kind {
	case storev1.OperationKind_OPERATION_KIND_IMPORT, storev1.OperationKind_OPERATION_KIND_STAGE:
		v.importMessage(m, o)
	}
	return m
}

// importMessage adds how far the data of an import is.
func (v *view) importMessage(m *hubv1.Operation, o *storev1.Operation) {
	img, _ := v.read().Image(image.ID(o.ImageId))
	if o.Source.GetComplete() {
		if img.GetContent().GetId() == o.Source.GetContentId() {
			m.SourceBytesTotal = img.GetContent().GetSizeBytes()
			if origin := img.GetOrigin(); origin != nil {
				m.SourceBytesTotal = origin.SizeBytes
			}
		}
		m.SourceBytesDone = m.SourceBytesTotal
		return
	}
	p := v.Importer.Progress(image.ID(o.Id))
	m.ImportPhase = hubv1.ImportPhase(p.Phase)
	m.SourceBytesDone, m.SourceBytesTotal, m.SourceBytesPerSecond = p.Received, p.Expected, p.Rate
	m.DiskBytesDone, m.DiskBytesTotal = p.DiskDone, p.DiskTotal
}

func errorMessage(e *storev1.OperationError) *hubv1.OperationError {
	if e == nil {
		return nil
	}
	return &hubv1.OperationError{Code: e.Code, Reason: e.Reason, Message: e.Message}
}
