package source

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/format/pktline"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/transport"

	"github.com/ibshafique/base-images/internal/limits"
)

const sshPort = "22"

// sshSession is git-upload-pack on a server, over a connection of its own. Nothing comes from an agent, from files or
// from the environment.
type sshSession struct {
	incoming
	connection *sshConnection
	stdin      io.WriteCloser
	stdout     io.Reader
	stderr     *lastWords
}

// openSSH connects and starts the command.
func openSSH(ctx context.Context, config Config, req request) (*sshSession, error) {
	connection, err := dialSSH(ctx, config, req)
	if err != nil {
		return nil, err
	}
	s := &sshSession{connection: connection}
	s.pace = newPace(config.Limits, config.clock)
	s.allow(listingBound(config.Limits))
	s.await(connection.abort)
	if err := s.start("git-upload-pack " + shellQuote(remotePath(req.url.Path))); err != nil {
		s.rest()
		connection.close()
		if slow := s.pace.fault(req.url.String()); slow != nil {
			return nil, slow
		}
		return nil, unavailable("reading "+req.url.String()+": starting git-upload-pack", connection.cause(err))
	}
	return s, nil
}

func (s *sshSession) start(command string) error {
	session, err := s.connection.client.NewSession()
	if err != nil {
		return err
	}
	if s.stdin, err = session.StdinPipe(); err != nil {
		return err
	}
	if s.stdout, err = session.StdoutPipe(); err != nil {
		return err
	}
	stderr, err := session.StderrPipe()
	if err != nil {
		return err
	}
	if err := session.Start(command); err != nil {
		return err
	}
	s.stderr = listen(stderr)
	return nil
}

// remotePath is the path of a URL as git gives it to a server: one that starts with a home directory is not absolute.
func remotePath(path string) string {
	if strings.HasPrefix(path, "/~") {
		return path[1:]
	}
	return path
}

// shellQuote makes one word of a shell on the server. An exclamation mark means something to some of them.
func shellQuote(s string) string {
	return "'" + strings.NewReplacer("'", `'\''`, "!", `'\!'`).Replace(s) + "'"
}

// Read reads what the command writes, and tells why it ended early.
func (s *sshSession) Read(p []byte) (int, error) {
	n, err := s.read(s.stdout, p)
	if err != nil && !errors.Is(err, errTooLarge) {
		err = s.connection.cause(err)
	}
	return n, err
}

// AdvertisedReferencesContext lists the references. The context is that of the connection, which ends with it.
func (s *sshSession) AdvertisedReferencesContext(context.Context) (*packp.AdvRefs, error) {
	refs := packp.NewAdvRefs()
	err := refs.Decode(s)
	if errors.Is(err, packp.ErrEmptyAdvRefs) || err == nil && refs.IsEmpty() {
		return nil, transport.ErrEmptyRemoteRepository
	}
	if err != nil {
		return nil, err
	}
	transport.FilterUnsupportedCapabilities(refs.Capabilities)
	return refs, nil
}

// UploadPack asks for objects. The context is that of the connection, which ends with it.
func (s *sshSession) UploadPack(_ context.Context, req *packp.UploadPackRequest) (*packp.UploadPackResponse, error) {
	if err := req.Validate(); err != nil {
		return nil, err
	}
	s.await(s.connection.abort)
	asked := errors.Join(req.UploadRequest.Encode(s.stdin), pktline.NewEncoder(s.stdin).Encodef("done\n"))
	res := packp.NewUploadPackResponse(req)
	// A server that has stopped listening has said why.
	if err := res.Decode(io.NopCloser(s)); err != nil {
		return nil, err
	}
	return res, asked
}

// Close says good-bye, so that a server that was only asked for references logs no error, and closes the connection.
func (s *sshSession) Close() error {
	s.rest()
	_, _ = s.stdin.Write(pktline.FlushPkt)
	s.connection.close()
	s.stderr.wait()
	return nil
}

// fault ends the session, since what the command wrote to standard error is complete only then.
func (s *sshSession) fault(url string, err error) error {
	s.connection.close()
	words := s.stderr.wait()
	for _, b := range []*budget{&s.budget, &s.connection.traffic} {
		if over := b.fault(url); over != nil {
			return over
		}
	}
	if slow := s.pace.fault(url); slow != nil {
		return slow
	}
	if line, ok := errors.AsType[*pktline.ErrorLine](err); ok {
		words += "\n" + line.Text
	}
	switch {
	case errors.Is(err, transport.ErrEmptyRemoteRepository):
		return emptyRepository(url)
	case s.connection.cause(nil) == nil:
		if fault := commandFault(url, words); fault != nil {
			return fault
		}
	}
	return unavailable("reading "+url, s.connection.cause(err))
}

// traffic bounds all that a server sends over one connection, with what is neither references nor objects: a server
// may send messages that nobody reads.
func traffic(l limits.Source) bound {
	return bound{bytes: 1<<20 + 2*(l.ReferenceBytes+l.Bytes), limit: "limits.source.bytes", fix: "use another server"}
}

// address is where a URL's server listens. Names of hosts are compared in lower case.
func (r request) address() string {
	return net.JoinHostPort(strings.ToLower(r.url.Hostname()), cmp.Or(r.url.Port(), sshPort))
}
