package source

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/ibshafique/base-images/internal/limits"
	"github.com/ibshafique/base-images/internal/pipeline"
)

// pack makes a pack of one object, with a header that may lie.
func pack(t *testing.T, count uint32, kind plumbing.ObjectType, declared uint64, content []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	b.WriteString("PACK")
	b.Write(binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, 2), count))
	first := byte(kind)<<4 | byte(declared&15)
	if declared >>= 4; declared > 0 {
		first |= 0x80
	}
	b.WriteByte(first)
	for declared > 0 {
		next := byte(declared & 127)
		if declared >>= 7; declared > 0 {
			next |= 0x80
		}
		b.WriteByte(next)
	}
	if kind == plumbing.REFDeltaObject {
		b.Write(make([]byte, 20))
	}
	z := zlib.NewWriter(&b)
	if _, err := z.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestCheckPack(t *testing.T) {
	t.Parallel()
	delta := func(base, result uint64) []byte {
		return binary.AppendUvarint(binary.AppendUvarint(nil, base), result)
	}
	const object = 1 << 10
	tests := map[string]struct {
		pack     []byte
		terminal bool
		fine     bool
	}{
		"an object of the largest size":            {pack: pack(t, 1, plumbing.BlobObject, object, make([]byte, object)), fine: true},
		"a difference with a result of that size":  {pack: pack(t, 1, plumbing.REFDeltaObject, 3, delta(1, object)), fine: true},
		"an object that is larger":                 {pack: pack(t, 1, plumbing.BlobObject, object+1, make([]byte, object+1)), terminal: true},
		"an object that is larger than it says":    {pack: pack(t, 1, plumbing.BlobObject, 1, make([]byte, object))},
		"an object of a negative size":             {pack: pack(t, 1, plumbing.BlobObject, 1<<63, nil)},
		"a difference with a result that is large": {pack: pack(t, 1, plumbing.REFDeltaObject, 3, delta(1, object+1)), terminal: true},
		"a difference with a result beyond int64":  {pack: pack(t, 1, plumbing.REFDeltaObject, 11, delta(1, 1<<63))},
		"a difference without sizes":               {pack: pack(t, 1, plumbing.REFDeltaObject, 0, nil)},
		"too many objects":                         {pack: pack(t, 6, plumbing.BlobObject, 0, nil), terminal: true},
		"fewer objects than it says":               {pack: pack(t, 2, plumbing.BlobObject, 0, nil)},
		"not a pack":                               {pack: []byte("<html>")},
		"nothing":                                  {},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := &remote{limits: limits.Source{FileBytes: object, ExpandedBytes: object, Objects: 5}}
			err := r.checkPack(bytes.NewReader(tc.pack))
			switch {
			case tc.fine && err != nil:
				t.Error(err)
			case tc.terminal:
				wantTerminal(t, err, pipeline.ReasonSourceTooLarge)
			case !tc.fine:
				wantTransient(t, err, 0)
			}
		})
	}
}

func TestFetchStopsReading(t *testing.T) {
	t.Parallel()
	const line = "7217a7c7e582c46cec22a130adf4b9d7d950fba0 HEAD\x00"
	tests := map[string]struct {
		answer   string
		repeated string
		terminal bool
	}{
		"endless messages":          {answer: "0008NAK\n", repeated: "000a\x02wait\n", terminal: true},
		"endless objects":           {answer: "0008NAK\n", repeated: "000a\x01PACK\n", terminal: true},
		"an answer that is cut off": {answer: "0008NAK\n000a\x01PA"},
		"an error of the server":    {answer: "0008NAK\n000a\x03sorry"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				if req.Method == http.MethodGet {
					w.Header().Set("Content-Type", "application/x-git-upload-pack-advertisement")
					_, _ = io.WriteString(w, "001e# service=git-upload-pack\n0000"+advertised(line)+"0000")
					return
				}
				w.Header().Set("Content-Type", "application/x-git-upload-pack-result")
				_, err := io.WriteString(w, tc.answer)
				for err == nil && tc.repeated != "" {
					_, err = io.WriteString(w, tc.repeated)
				}
			}))
			t.Cleanup(server.Close)
			config := local(t)
			config.Limits.Bytes = 1 << 20
			_, err := NewResolver(config).ResolveGit(t.Context(), Git{URL: server.URL + "/x"}, "")
			if tc.terminal {
				wantTerminal(t, err, pipeline.ReasonSourceTooLarge, "spec.source.git.url")
			} else {
				wantTransient(t, err, 0)
			}
		})
	}
}

// advertised is the first line of a listing with the capabilities of a usual server.
func advertised(line string) string {
	line += "side-band-64k shallow ofs-delta no-progress\n"
	const digits = "0123456789abcdef"
	n := len(line) + 4
	return string([]byte{digits[n>>12&15], digits[n>>8&15], digits[n>>4&15], digits[n&15]}) + line
}
