package catalogtest_test

import (
	"testing"

	"github.com/atoll-dcn/atoll/hub/internal/catalog"
	"github.com/atoll-dcn/atoll/hub/internal/catalog/catalogtest"
)

func TestConformance(t *testing.T) {
	catalogtest.RunConformance(t, func(*testing.T) catalog.Records { return catalogtest.New() })
}
