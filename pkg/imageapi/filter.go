package imageapi

import (
	"strconv"
	"strings"
	"time"
)

// filter reports whether an image belongs in a list.
type filter func(img *Image) bool

// The attributes that filters compare. An empty text is null, which equals nothing.
var (
	texts = map[string]func(*Image) string{
		"name":             func(i *Image) string { return i.Name },
		"id":               func(i *Image) string { return string(i.ID) },
		"status":           func(i *Image) string { return string(i.Status) },
		"container_format": func(i *Image) string { return i.ContainerFormat },
		"disk_format":      func(i *Image) string { return i.DiskFormat },
	}
	plainTexts = map[string]func(*Image) string{
		"owner":         func(i *Image) string { return i.Owner },
		"checksum":      func(i *Image) string { return i.Checksum },
		"os_hash_algo":  func(i *Image) string { return i.HashAlgo },
		"os_hash_value": func(i *Image) string { return i.HashValue },
	}
	numbers = map[string]func(*Image) (n int64, null bool){
		"size":         func(i *Image) (int64, bool) { return i.Size, i.Size == 0 },
		"virtual_size": func(i *Image) (int64, bool) { return i.VirtualSize, i.VirtualSize == 0 },
		"min_disk":     func(i *Image) (int64, bool) { return int64(i.MinDisk), false },
		"min_ram":      func(i *Image) (int64, bool) { return int64(i.MinRAM), false },
	}
	flags = map[string]func(*Image) bool{
		"protected": func(i *Image) bool { return i.Protected },
		"os_hidden": func(i *Image) bool { return i.Hidden },
	}
	dates = map[string]func(*Image) time.Time{
		"created_at": func(i *Image) time.Time { return i.CreatedAt },
		"updated_at": func(i *Image) time.Time { return i.UpdatedAt },
	}
	progress = map[string]func(*Image) (string, bool){
		importingTo:  func(i *Image) (string, bool) { return strings.Join(i.ImportingTo, ","), i.Copying },
		failedImport: func(i *Image) (string, bool) { return strings.Join(i.Failed, ","), i.Copying },
		importTask:   func(i *Image) (string, bool) { return i.ImportTask, i.ImportTask != "" },
	}
)

// parseFilter returns the filter that a parameter stands for, nil when it is about a property.
func parseFilter(key, value string) (filter, error) {
	if get := texts[key]; get != nil {
		return textFilter(get, value)
	}
	if get := plainTexts[key]; get != nil {
		return func(img *Image) bool { return value != "" && get(img) == value }, nil
	}
	if get := flags[key]; get != nil {
		if key == "os_hidden" {
			value = strings.ToLower(value)
		}
		if value != "true" && value != "false" {
			return nil, badQuery("Invalid value '%s' for '%s' filter. Valid values are 'true' or 'false'.", clip(value), key)
		}
		want := value == "true"
		return func(img *Image) bool { return get(img) == want }, nil
	}
	if get := dates[key]; get != nil {
		return dateFilter(get, value)
	}
	if get := progress[key]; get != nil {
		return func(img *Image) bool {
			text, ok := get(img)
			return ok && text == value
		}, nil
	}
	return numberFilter(key, value)
}

// propertyFilter compares a property. The names of attributes are never those of properties.
func propertyFilter(key, value string) filter {
	return func(img *Image) bool {
		got, ok := img.Properties[key]
		return ok && got == value && isProperty(key)
	}
}

// splitOperator splits "in:a,b". A date has no operator although it has colons.
func splitOperator(value string) (operator, rest string) {
	left, right, found := strings.Cut(value, ":")
	if !found {
		return "eq", value
	}
	if _, ok := parseDate(value); ok {
		return "eq", value
	}
	return left, right
}

func textFilter(get func(*Image) string, value string) (filter, error) {
	operator, rest := splitOperator(value)
	switch operator {
	case "eq":
		return func(img *Image) bool { return rest != "" && get(img) == rest }, nil
	case "in":
		list, err := splitQuoted(rest)
		if err != nil {
			return nil, err
		}
		wanted := make(map[string]bool, len(list)) // thousands fit into a URL, and every image is looked at
		for _, text := range list {
			wanted[text] = text != ""
		}
		return func(img *Image) bool { return wanted[get(img)] }, nil
	}
	return nil, badQuery("Unable to filter by unknown operator '%s'.", clip(operator))
}

// splitQuoted splits a list at its commas, but not at those between double quotes.
func splitQuoted(list string) ([]string, error) {
	var parts []string
	for rest := list; rest != ""; {
		var part string
		if !strings.HasPrefix(rest, `"`) {
			part, rest, _ = strings.Cut(rest, ",")
			if strings.Contains(part, `"`) {
				return nil, badQuery("Invalid filter value %s. There is no comma before opening quotation mark.", clip(list))
			}
			if part != "" {
				parts = append(parts, part)
			}
			continue
		}
		var closed, comma bool
		part, rest, closed = strings.Cut(rest[1:], `"`)
		if !closed {
			return nil, badQuery("Invalid filter value %s. The quote is not closed.", clip(list))
		}
		if part != "" {
			parts = append(parts, part)
		}
		if rest, comma = strings.CutPrefix(rest, ","); !comma && rest != "" {
			return nil, badQuery("Invalid filter value %s. There is no comma after closing quotation mark.", clip(list))
		}
	}
	return parts, nil
}

// numberFilter returns the filter of a numeric attribute or of its bound, nil for other keys.
func numberFilter(key, value string) (filter, error) {
	name, least := strings.CutSuffix(key, "_min")
	most := false
	if !least {
		name, most = strings.CutSuffix(key, "_max")
	}
	get := numbers[name]
	if get == nil {
		return nil, nil //nolint:nilnil // no filter and no mistake: the key is not ours
	}
	want, err := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
	if err != nil {
		return nil, badQuery("Unable to filter on %s: '%s' is not a number.", key, clip(value))
	}
	return func(img *Image) bool {
		n, null := get(img)
		switch {
		case null:
			return false
		case least:
			return n >= want
		case most:
			return n <= want
		}
		return n == want
	}, nil
}

// dateFilter compares a time in whole seconds, as they are shown.
func dateFilter(get func(*Image) time.Time, value string) (filter, error) {
	operator, rest := splitOperator(value)
	want, ok := parseDate(rest)
	if !ok {
		return nil, badQuery("The value '%s' is not an ISO 8601 date and time.", clip(rest))
	}
	compare := map[string]func(c int) bool{
		"gt":  func(c int) bool { return c > 0 },
		"gte": func(c int) bool { return c >= 0 },
		"eq":  func(c int) bool { return c == 0 },
		"neq": func(c int) bool { return c != 0 },
		"lt":  func(c int) bool { return c < 0 },
		"lte": func(c int) bool { return c <= 0 },
	}[operator]
	if compare == nil {
		return nil, badQuery("Unable to filter by unknown operator '%s'.", clip(operator))
	}
	return func(img *Image) bool { return compare(get(img).Truncate(time.Second).Compare(want)) }, nil
}

// dateForms are the forms of ISO 8601 that clients use. Those without a zone are UTC. Fractions of seconds parse with all.
var dateForms = []string{
	"2006-01-02T15:04:05Z07:00", "2006-01-02T15:04:05Z0700", "2006-01-02T15:04:05Z07", "2006-01-02T15:04:05",
	"2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05", "2006-01-02T15:04Z07:00", "2006-01-02T15:04", "2006-01-02",
	"20060102T150405Z07:00", "20060102T150405", "20060102",
}

func parseDate(s string) (time.Time, bool) {
	if len(s) > 40 {
		return time.Time{}, false
	}
	for _, form := range dateForms {
		if t, err := time.Parse(form, s); err == nil {
			return t.UTC(), true
		}
	}
	return time.Time{}, false
}
