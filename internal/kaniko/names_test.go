package kaniko

import (
	"fmt"
	"testing"
)

func TestNamesOfAJobAndItsInput(t *testing.T) {
	got := fmt.Sprint(JobName("b", arm64), " ", InputName("b"))
	if want := "basewright-b-arm64 b-input"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
