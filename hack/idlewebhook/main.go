// Command idlewebhook admits everything without looking at it: what a call of a webhook costs by itself, which the benchmarks of
// admission are compared with.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"time"
)

// maxReview is that of controller-runtime's webhooks.
const maxReview = 7 << 20

func main() {
	if len(os.Args) != 4 {
		log.Fatal("usage: idlewebhook ADDRESS CERTIFICATE KEY")
	}
	server := &http.Server{Addr: os.Args[1], Handler: http.HandlerFunc(admit), ReadHeaderTimeout: 10 * time.Second}
	log.Fatal(server.ListenAndServeTLS(os.Args[2], os.Args[3]))
}

// admit reads no more of a review than what the answer needs.
func admit(w http.ResponseWriter, r *http.Request) {
	var review struct {
		Request struct {
			UID string `json:"uid"`
		} `json:"request"`
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxReview))
	if err != nil || json.Unmarshal(body, &review) != nil {
		http.Error(w, "not a review", http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","response":{"uid":%q,"allowed":true}}`, review.Request.UID)
}
