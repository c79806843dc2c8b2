package controllers

import (
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	inmemory "github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/empty"

	"github.com/ibshafique/base-images/internal/config"
	"github.com/ibshafique/base-images/internal/registry"
)

func TestEveryImageIsPinned(t *testing.T) {
	srv := httptest.NewServer(inmemory.New(inmemory.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(srv.Close)
	host := strings.TrimPrefix(srv.URL, "http://")
	client, err := registry.New(registry.Config{UnsafeLoopback: true})
	if err != nil {
		t.Fatal(err)
	}
	repo, err := client.Repository(host + "/a")
	if err != nil {
		t.Fatal(err)
	}
	ref, err := client.PushImage(t.Context(), repo, empty.Image)
	if err != nil {
		t.Fatal(err)
	}
	m, err := client.Manifest(t.Context(), ref)
	if err == nil {
		err = client.Tag(t.Context(), repo.Tag("1"), m)
	}
	if err != nil {
		t.Fatal(err)
	}

	var images, want config.Images
	given, pinned := reflect.ValueOf(&images).Elem(), reflect.ValueOf(&want).Elem()
	for i := range given.NumField() {
		given.Field(i).SetString(host + "/a:1")
		pinned.Field(i).SetString(host + "/a:1@" + ref.DigestStr())
	}
	got, err := (&pinnedImages{}).pinned(t.Context(), client, images)
	if got != want || err != nil {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	if again, err := (&pinnedImages{}).pinned(t.Context(), client, want); again != want || err != nil {
		t.Errorf("digests: got %+v, %v", again, err)
	}
	for i := range given.NumField() {
		wrong := want
		reflect.ValueOf(&wrong).Elem().Field(i).SetString(host + "/a:2")
		field := "images." + strings.ToLower(given.Type().Field(i).Name)
		if _, err := (&pinnedImages{}).pinned(t.Context(), client, wrong); !strings.Contains(fmt.Sprint(err), field) {
			t.Errorf("got %v, want %s named", err, field)
		}
	}
}
