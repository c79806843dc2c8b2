package rules_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

func BenchmarkCompile(b *testing.B) {
	for b.Loop() {
		compile(b, module(`deny contains "a"`))
	}
}

func BenchmarkEvaluate(b *testing.B) {
	image, err := os.ReadFile("../../images/base/wolfi-micro/Dockerfile")
	if err != nil {
		b.Fatal(err)
	}
	for name, content := range map[string]string{
		"an image of images/base": string(image),
		"100 RUNs":                "FROM x:1\n" + strings.Repeat("RUN apt-get update && apt-get install -y x && rm -rf /var/lib/apt/lists/*\n", 100) + "USER 1\n",
		"100 ENVs that need each other": "FROM x:1\nENV A0=1\n" + func() string {
			var s strings.Builder
			for i := range 100 {
				fmt.Fprintf(&s, "ENV A%d=$A%d\n", i+1, i)
			}
			return s.String()
		}() + "USER $A100\n",
	} {
		b.Run(name, func(b *testing.B) {
			p, in := compile(b), input(b, content)
			for b.Loop() {
				if _, err := p.Evaluate(b.Context(), in); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
