package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/ibshafique/base-images/internal/pipeline"
)

func TestLoginsAreKeptForSoManyRepositories(t *testing.T) {
	var asked []string
	tokens := counting(tokenRegistry(func(host string) string { return "http://" + host + "/token" }, &asked))
	host := serve(t, tokens)
	c := testClient(t, Config{}).With(user(host))
	read := func(i int) {
		_, err := c.Head(t.Context(), parse(t, c, fmt.Sprintf("%s/x/a%d:z", host, i)))
		if got := fault(err); got != "Terminal "+pipeline.ReasonImageNotFound {
			t.Fatalf("got %v", err)
		}
	}
	pullers := map[*remote.Puller]struct{}{}
	for i := range keptRepositories + 10 {
		read(i)
		pullers[c.pullers.current] = struct{}{}
		c.listing.note(fmt.Sprint(i))
	}
	if len(pullers) != 2 || len(c.pullers.repositories) != 10 || len(c.listing.repositories) > 10 {
		t.Errorf("there were %d; %d and %d repositories are kept", len(pullers), len(c.pullers.repositories), len(c.listing.repositories))
	}
	before := tokens.of("/token")
	read(keptRepositories + 1)
	if again := tokens.of("/token"); again != before {
		t.Errorf("a login that is kept was made again: %d tokens instead of %d", again, before)
	}
	if read(1); tokens.of("/token") != before+1 {
		t.Errorf("the credentials went %d times for a token instead of %d", tokens.of("/token"), before+1)
	}
}

// Who wait for a login that somebody else makes do not fail because that one goes away.
func TestALoginThatOthersHaveCancelledIsMadeAgain(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	cancelled := fmt.Errorf("pinging: %w", context.Canceled)
	tests := map[string]struct {
		ctx   context.Context
		fails int
		err   error
		tries int
		want  error
	}{
		"once":                            {t.Context(), 1, cancelled, 2, nil},
		"always":                          {t.Context(), 100, cancelled, loginTries, context.Canceled},
		"but not if we have":              {ended, 100, cancelled, 1, context.Canceled},
		"but not if something else fails": {t.Context(), 100, io.ErrUnexpectedEOF, 1, io.ErrUnexpectedEOF},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			c := testClient(t, Config{})
			tries := 0
			_, err := pulling(tt.ctx, c, parse(t, c, "example.com/x").Context(), func(*remote.Puller) (int, error) {
				if tries++; tries <= tt.fails {
					return 0, tt.err
				}
				return 1, nil
			})
			if !errors.Is(err, tt.want) || tries != tt.tries {
				t.Errorf("after %d tries: %v", tries, err)
			}
		})
	}
}
