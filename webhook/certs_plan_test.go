package webhook

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"testing"
	"time"
)

const serverName = "basewright-webhook.basewright-system.svc"

var epoch = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

func mustNext(t *testing.T, s stock, trusted bool, now time.Time) *stock {
	t.Helper()
	next, err := newMaker(serverName).next(s, trusted, now)
	if err != nil {
		t.Fatal(err)
	}
	return next
}

// accepts is what an apiserver does.
func accepts(t *testing.T, bundle []byte, s stock, now time.Time) bool {
	t.Helper()
	pair, err := tls.X509KeyPair(s.certificate, s.key)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(bundle)
	_, err = pair.Leaf.Verify(x509.VerifyOptions{DNSName: serverName, Roots: pool, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	return err == nil
}

func TestWhatIsRenewedAndWhen(t *testing.T) {
	first := *mustNext(t, stock{}, false, epoch)
	other := *mustNext(t, stock{}, false, epoch)
	for name, tt := range map[string]struct {
		held    stock
		trusted bool
		after   time.Duration
		// authorities, and whether the first and the certificate are other ones.
		authorities                  int
		newAuthority, newCertificate bool
	}{
		"nothing that is new":                              {first, true, 0, 0, false, false},
		"nothing, just before it is time":                  {first, true, certificateFor - certificateAhead - time.Second, 0, false, false},
		"a certificate that ends soon":                     {first, true, certificateFor - certificateAhead + time.Second, 1, false, true},
		"a certificate that ends soon, whoever trusts it":  {first, false, certificateFor - certificateAhead + time.Second, 1, false, true},
		"a certificate that has ended":                     {first, true, certificateFor + time.Second, 1, false, true},
		"an authority that ends within a year":             {first, true, authorityFor - authorityAhead + time.Second, 2, true, true},
		"everything, if all has ended":                     {first, true, authorityFor + time.Second, 1, true, true},
		"an authority without its key, nothing else":       {stock{first.authorities, nil, first.certificate, first.key}, true, 0, 2, true, false},
		"an authority with the key of another":             {stock{first.authorities, other.authorityKey, first.certificate, first.key}, true, 0, 2, true, false},
		"a certificate of an authority that nobody trusts": {stock{other.authorities, other.authorityKey, first.certificate, first.key}, true, 0, 1, false, true},
		"a certificate with the key of another":            {stock{first.authorities, first.authorityKey, first.certificate, other.key}, true, 0, 1, false, true},
		"what is no certificate":                           {stock{[][]byte{[]byte("x")}, []byte("y"), []byte("z"), []byte("z")}, true, 0, 1, true, true},
		"not a certificate of the authority before, while the new one is not known": {
			stock{[][]byte{other.authorities[0], first.authorities[0]}, other.authorityKey, first.certificate, first.key}, false, time.Hour, 0, false, false},
		"not a certificate of the authority before, while not everybody can know": {
			stock{[][]byte{other.authorities[0], first.authorities[0]}, other.authorityKey, first.certificate, first.key}, true, settle, 0, false, false},
		"a certificate of the authority before, when everybody knows": {
			stock{[][]byte{other.authorities[0], first.authorities[0]}, other.authorityKey, first.certificate, first.key}, true, settle + time.Second, 2, false, true},
		"not the authority before, while it may be served with": {
			stock{[][]byte{first.authorities[0], other.authorities[0]}, first.authorityKey, first.certificate, first.key}, true, settle, 0, false, false},
		"the authority before goes": {
			stock{[][]byte{first.authorities[0], other.authorities[0]}, first.authorityKey, first.certificate, first.key}, true, settle + time.Second, 1, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			now := epoch.Add(tt.after)
			next := mustNext(t, tt.held, tt.trusted, now)
			if next == nil {
				if tt.authorities != 0 {
					t.Fatal("nothing is renewed")
				}
				return
			}
			if len(next.authorities) != tt.authorities || bytes.Equal(next.authorities[0], tt.held.authorities[0]) == tt.newAuthority || bytes.Equal(next.certificate, tt.held.certificate) == tt.newCertificate {
				t.Fatalf("there are %d authorities; of what there was, the first is kept: %t, the certificate: %t", len(next.authorities),
					bytes.Equal(next.authorities[0], tt.held.authorities[0]), bytes.Equal(next.certificate, tt.held.certificate))
			}
			if !accepts(t, bytes.Join(next.authorities, nil), *next, now) {
				t.Error("the certificate is not one of the authorities'")
			}
		})
	}
}

// For ten minutes, any apiserver may know what was true, and any replica serve with what there was: all of them get along.
func TestNobodyMeetsACertificateThatItDoesNotTrust(t *testing.T) {
	type moment struct {
		at     time.Time
		stock  stock
		bundle []byte
	}
	now := epoch
	held := *mustNext(t, stock{}, false, now)
	bundle := bytes.Join(held.authorities, nil)
	var recent []moment
	replaced, most := 0, 1
	for minute := range 60 {
		now = now.Add(time.Minute)
		if minute == 20 { // The key is lost: a new authority takes over.
			held.authorityKey = nil
		}
		trusted := bytes.Contains(bundle, held.authorities[0])
		if next := mustNext(t, held, trusted, now); next != nil {
			held = *next
			replaced++
		} else {
			bundle = bytes.Join(held.authorities, nil)
		}
		most = max(most, len(held.authorities))
		recent = append(recent, moment{now, held, bundle})
		if len(recent) > 10 {
			recent = recent[1:]
		}
		for _, asks := range recent {
			for _, serves := range recent {
				if !accepts(t, asks.bundle, serves.stock, now) {
					t.Fatalf("minute %d: who knows what was true at %s refuses what was served at %s", minute, asks.at, serves.at)
				}
			}
		}
	}
	if replaced != 3 || most != 2 || len(held.authorities) != 1 {
		t.Errorf("%d changes with at most %d authorities, %d in the end: the authority was not replaced", replaced, most, len(held.authorities))
	}
}

func TestTheSecretIsReadAsItIsWritten(t *testing.T) {
	s := *mustNext(t, stock{}, false, epoch)
	s.authorities = append(s.authorities, mustNext(t, stock{}, false, epoch).authorities[0])
	again := stockOf(s.data())
	if len(again.authorities) != 2 || !bytes.Equal(again.authorities[1], s.authorities[1]) || !bytes.Equal(again.key, s.key) || !bytes.Equal(again.authorityKey, s.authorityKey) {
		t.Errorf("got %d authorities", len(again.authorities))
	}
}
