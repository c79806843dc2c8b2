package verdict

import (
	"context"
	"errors"
	"time"
)

// Look is where an answer comes from.
type Look string

// Where answers come from.
const (
	// Hit: it was remembered.
	Hit Look = "Hit"
	// Miss: it was not.
	Miss Look = "Miss"
	// Coalesced: somebody else was looking for it.
	Coalesced Look = "Coalesced"
)

// Outcome is what became of a verification.
type Outcome string

// What becomes of verifications.
const (
	// Held: the image is what the policy asks for.
	Held Outcome = "Held"
	// Refused: it is not.
	Refused Outcome = "Refused"
	// Unknown: something is away.
	Unknown Outcome = "Unknown"
	// Abandoned: nobody waited for it any more.
	Abandoned Outcome = "Abandoned"
)

// Observer is told what becomes of questions, by several goroutines. What is nil is not told.
type Observer struct {
	// Looked is told of each question.
	Looked func(Look)
	// Judged is told of each verification, and how long it took.
	Judged func(Outcome, time.Duration)
	// Opened is told each time a registry, or a repository as some see it, begins to be left alone.
	Opened func()
}

func (o Observer) complete() Observer {
	if o.Looked == nil {
		o.Looked = func(Look) {}
	}
	if o.Judged == nil {
		o.Judged = func(Outcome, time.Duration) {}
	}
	if o.Opened == nil {
		o.Opened = func() {}
	}
	return o
}

func outcome(ctx context.Context, v Verdict, err error) Outcome {
	switch {
	case err == nil && v.Holds():
		return Held
	case err == nil:
		return Refused
	case errors.Is(ctx.Err(), context.Canceled):
		return Abandoned
	}
	return Unknown
}
