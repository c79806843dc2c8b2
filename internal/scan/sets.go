package scan

import "slices"

// add adds what a list does not have yet.
func add[T comparable](list []T, item T) []T {
	if slices.Contains(list, item) {
		return list
	}
	return append(list, item)
}

func without[T comparable](list []T, item T) []T {
	return slices.DeleteFunc(slices.Clone(list), func(i T) bool { return i == item })
}

// addBounded adds what a list does not have yet, as long as it is short.
func addBounded(list, items []string) []string {
	for _, item := range items {
		if len(list) < maxAliases {
			list = add(list, item)
		}
	}
	return list
}
