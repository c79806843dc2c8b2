//go:build apiserver

package apiserver
import "testing"
func TestX(t *testing.T){ t.Log(cfg.Host) }
