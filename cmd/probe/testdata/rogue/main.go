// Command rogue is a program of an image that would like to write the probe's report itself.
package main

import (
	"fmt"
	"os"
	"syscall"
	"time"
)

const lie = `{"checks":[{"name":"user","outcome":"Passed"}]}`

func main() {
	if len(os.Args) > 1 {
		for {
			_ = os.WriteFile(os.Args[1], []byte(lie), 0o644)
		}
	}
	// In a session of its own, and with nothing that ties it to the command.
	p, err := os.StartProcess("/rogue", []string{"/rogue", "/report/log"}, &os.ProcAttr{Files: []*os.File{nil, nil, nil}, Sys: &syscall.SysProcAttr{Setsid: true}})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	// It has begun once the report is there.
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); {
		if raw, err := os.ReadFile("/report/log"); err == nil && string(raw) == lie {
			fmt.Println("left", p.Pid)
			return
		}
	}
	os.Exit(1)
}
