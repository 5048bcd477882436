package imageapi

import "encoding/json"

// appendString appends s as a JSON string.
func appendString(b []byte, s string) []byte {
	for _, c := range []byte(s) {
		if c < ' ' || c == '"' || c == '\\' || c >= 0x7F {
			return appendEscaped(b, s)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

// appendEscaped appends a string that is not plain ASCII.
func appendEscaped(b []byte, s string) []byte {
	quoted, err := json.Marshal(s)
	if err != nil { // strings always encode
		return append(b, '"', '"')
	}
	return append(b, quoted...)
}

// appendKey appends a key and its colon.
func appendKey(b []byte, key string) []byte { return append(appendString(b, key), ':') }

// appendPair appends a key and a string.
func appendPair(b []byte, key, text string) []byte { return appendString(appendKey(b, key), text) }

// appendOptional appends a key and a string, or null when it is empty.
func appendOptional(b []byte, key, text string) []byte {
	if text == "" {
		return append(appendKey(b, key), "null"...)
	}
	return appendPair(b, key, text)
}
