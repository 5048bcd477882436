package inject

import (
	"fmt"
	"strings"
)

// split reads key:value pairs that are separated by commas, as oslo.config's dictionaries are: the first colon ends the key,
// spaces around keys and values do not count. Unlike there, a value with commas or outer spaces can be put into quotes of
// either kind, and a part without a colon is a mistake and not the beginning of a key with a comma.
func split(s string) (pairs [][2]string, err error) {
	for rest := strings.TrimSpace(s); rest != ""; {
		key, after, ok := strings.Cut(rest, ":")
		key = strings.TrimSpace(key)
		if !ok || strings.Contains(key, ",") {
			part, _, _ := strings.Cut(rest, ",")
			return nil, fmt.Errorf("%q is not key:value; values with commas need quotes, as in key:\"a,b\"", strings.TrimSpace(part))
		}
		value, left, err := value(strings.TrimSpace(after))
		if err != nil {
			return nil, fmt.Errorf("the value of %q %w", key, err)
		}
		pairs = append(pairs, [2]string{key, value})
		if rest = strings.TrimSpace(left); rest == "," {
			return nil, fmt.Errorf("a comma follows the last pair %q", key)
		}
		rest = strings.TrimPrefix(rest, ",")
	}
	return pairs, nil
}

// value reads a value from the front of s. What is left is empty or begins with a comma.
func value(s string) (v, left string, err error) {
	if s == "" || s[0] != '"' && s[0] != '\'' {
		end := strings.IndexByte(s, ',')
		if end < 0 {
			end = len(s)
		}
		return strings.TrimSpace(s[:end]), s[end:], nil
	}
	v, left, ok := strings.Cut(s[1:], s[:1])
	if !ok {
		return "", "", fmt.Errorf("has an opening quote %s and no closing one", s[:1])
	}
	if left = strings.TrimSpace(left); left != "" && left[0] != ',' {
		return "", "", fmt.Errorf("goes on behind its closing quote %s", s[:1])
	}
	return v, left, nil
}
