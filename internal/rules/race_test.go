//go:build race

package rules

// raceDetector needs far more memory than rules may have.
const raceDetector = true
