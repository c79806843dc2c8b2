package rules

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/ibshafique/base-images/internal/pipeline"
)

// Task is an evaluation of everybody's rules, and of those of a team, over the inputs of one build.
type Task struct {
	Modules []Module `json:"modules,omitempty"`
	Inputs  []Input  `json:"inputs"`
}

// Answer is what came of a Task.
type Answer struct {
	// Rules there are, by the names that exceptions use.
	Rules []string `json:"rules"`
	// Findings of all inputs together, each once, sorted.
	Findings []Finding `json:"findings,omitempty"`
}

// UnsafeHere evaluates in this process, which the rules of a team can end: there are values at whose comparison OPA
// overflows the stack, and types at which its compiler works for ever. It is for tests, and for what Serve does.
type UnsafeHere struct{}

// Evaluate compiles and evaluates; errors are those of Compile and Policy.Evaluate.
func (UnsafeHere) Evaluate(ctx context.Context, t Task) (Answer, error) {
	policy, err := Compile(t.Modules)
	if err != nil {
		return Answer{}, err
	}
	answer := Answer{Rules: policy.Rules()}
	var all []Finding
	for _, in := range t.Inputs {
		found, err := policy.Evaluate(ctx, in)
		if err != nil {
			return Answer{}, err
		}
		all = append(all, found...)
	}
	answer.Findings = tidy(all)
	return answer, nil
}

const (
	// apartTime is how long a process may take, apartSlots how many there may be at a time.
	apartTime  = 15 * time.Second
	apartSlots = 2
	// apartData is the memory that one may write to, apartStack of it for one stack.
	apartData  = 512 << 20
	apartStack = 64 << 20
	// apartCPU in seconds, should nobody be left to end it.
	apartCPU = 20
	// maxReply of a process: 200 findings with a message and a fix of 512 bytes, and the names of the rules.
	maxReply = 4 << 20
)

// Apart evaluates the rules of teams in processes of their own: whatever they do to one is a Terminal with reason
// PolicyBudgetExceeded. A Task without such rules is evaluated here.
type Apart struct {
	command []string
	slots   chan struct{}
}

// NewApart makes one whose processes are started by command, which has to call Serve.
func NewApart(command ...string) *Apart {
	return &Apart{command: command, slots: make(chan struct{}, apartSlots)}
}

// Evaluate is like that of UnsafeHere. Waiting for others' rules counts for ctx, and not for the time that a Task has.
func (a *Apart) Evaluate(ctx context.Context, t Task) (Answer, error) {
	if len(t.Modules) == 0 {
		return UnsafeHere{}.Evaluate(ctx, t)
	}
	if err := dockerfiles.bounded(t.Modules); err != nil {
		return Answer{}, err
	}
	task, err := json.Marshal(t)
	if err != nil {
		return Answer{}, fmt.Errorf("encoding the rules: %w", err)
	}
	select {
	case a.slots <- struct{}{}:
		defer func() { <-a.slots }()
	case <-ctx.Done():
		return Answer{}, fmt.Errorf("waiting to evaluate rules: %w", context.Cause(ctx))
	}
	reply, err := a.start(ctx, task)
	if err != nil {
		return Answer{}, err
	}
	return reply.open()
}

// start runs one process. It has nothing of this one's environment.
func (a *Apart) start(ctx context.Context, task []byte) (reply, error) {
	limited, cancel := context.WithTimeout(ctx, apartTime)
	defer cancel()
	cmd := exec.CommandContext(limited, a.command[0], a.command[1:]...)
	out := &capped{left: maxReply}
	cmd.Stdin, cmd.Stdout = bytes.NewReader(task), out
	cmd.Env, cmd.Dir = []string{"GOMAXPROCS=1", fmt.Sprintf("GOMEMLIMIT=%d", apartData*3/4)}, "/"
	// Whatever it leaves open must not keep us.
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	var r reply
	switch failed, ok := errors.AsType[*exec.ExitError](err); {
	case ctx.Err() != nil:
		return r, fmt.Errorf("evaluating rules: %w", context.Cause(ctx))
	case limited.Err() != nil:
		return r, exceeded("took longer than " + apartTime.String())
	case ok:
		return r, exceeded("ended the process that evaluates them (" + failed.String() + "): they need too much memory or too deep a stack")
	case err != nil:
		return r, fmt.Errorf("starting a process for rules: %w", err)
	}
	// Our own rules are always there: an answer that knows of none has judged nothing.
	if err := json.Unmarshal(out.Bytes(), &r); err != nil || r.Message == "" && len(r.Rules) == 0 {
		return r, exceeded("left no whole answer")
	}
	return r, nil
}

func exceeded(why string) error {
	return pipeline.Terminalf(pipeline.ReasonPolicyBudgetExceeded, "spec.dockerfilePolicy.extraRules: the rules %s: simplify them", why)
}

// reply is an Answer, or a fault.
type reply struct {
	Answer
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message,omitempty"`
}

func (r reply) open() (Answer, error) {
	if r.Message == "" {
		return r.Answer, nil
	}
	if r.Reason == "" {
		return Answer{}, errors.New(r.Message)
	}
	return Answer{}, pipeline.Terminalf(r.Reason, "%s", r.Message)
}

// Serve limits this process, and evaluates one Task from in to out.
func Serve(in io.Reader, out io.Writer) error {
	if err := confine(apartData); err != nil {
		return err
	}
	return serve(in, out)
}

func confine(data uint64) error {
	debug.SetMaxStack(apartStack)
	for resource, limit := range map[int]uint64{syscall.RLIMIT_DATA: data, syscall.RLIMIT_CPU: apartCPU} {
		if err := syscall.Setrlimit(resource, &syscall.Rlimit{Cur: limit, Max: limit}); err != nil {
			return fmt.Errorf("limiting the process: %w", err)
		}
	}
	return nil
}

func serve(in io.Reader, out io.Writer) error {
	var t Task
	if err := json.NewDecoder(in).Decode(&t); err != nil {
		return fmt.Errorf("reading the rules: %w", err)
	}
	var r reply
	answer, err := UnsafeHere{}.Evaluate(context.Background(), t)
	if r.Answer = answer; err != nil {
		r.Message = err.Error()
		if terminal, ok := errors.AsType[*pipeline.Terminal](err); ok {
			r.Reason = terminal.Reason
		}
	}
	return json.NewEncoder(out).Encode(r)
}

// capped keeps what fits, and ends whoever writes more.
type capped struct {
	bytes.Buffer
	left int
}

func (c *capped) Write(p []byte) (int, error) {
	if c.left -= len(p); c.left < 0 {
		return 0, errors.New("too much")
	}
	return c.Buffer.Write(p)
}
