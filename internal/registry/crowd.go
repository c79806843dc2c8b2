package registry

// maxValues of a manifest. One with 512 layers, or with 512 signatures, has less than 8,000. Who parses one needs up to a
// hundred times the memory of its text, and go-containerregistry parses each.
const maxValues = 16 << 10

// crowded reports whether raw, which is JSON or not, has more than maxValues values.
func crowded(raw []byte) bool {
	values, quoted := 0, false
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case c == '"':
			quoted = !quoted
		case quoted && c == '\\':
			i++
		case !quoted && (c == ',' || c == '{' || c == '['):
			values++
		}
	}
	return values > maxValues
}
