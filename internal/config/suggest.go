package config

import (
	"reflect"
	"slices"
	"strings"
)

// suggestion names the known field that somebody may have meant.
func suggestion(parent *path, name string, known map[string]reflect.Value) string {
	best, least := "", 0
	for field := range known {
		d := distance(strings.ToLower(name), strings.ToLower(field))
		if d > min(3, (len(field)+1)/3) {
			continue
		}
		// By name if there are several, so that the message is always the same.
		if best == "" || d < least || d == least && field < best {
			best, least = field, d
		}
	}
	if best == "" {
		return ""
	}
	return "; did you mean " + parent.child(best).text + "?"
}

// distance is the least number of letters to insert, remove or replace. A name that is
// much too long has its own length: there is no need to count.
func distance(a, b string) int {
	if len(a) > 2*len(b) {
		return len(a)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := diagonal
			if a[i] != b[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = slices.Min([]int{replace, row[j] + 1, row[j+1] + 1})
		}
	}
	return row[len(b)]
}
