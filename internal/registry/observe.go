package registry

import "net/http"

// observed tells of requests and what became of them, and changes nothing.
type observed struct {
	next http.RoundTripper
	tell func(method string, status int)
}

func (s *shared) observed() http.RoundTripper {
	if s.observe == nil {
		return s.guard
	}
	return &observed{next: s.guard, tell: s.observe}
}

func (o *observed) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := o.next.RoundTrip(req)
	if err != nil {
		o.tell(req.Method, 0)
		return nil, err
	}
	o.tell(req.Method, resp.StatusCode)
	return resp, nil
}
