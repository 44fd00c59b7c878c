package web

import (
	"net/http"

	"drydock/store"
)

func (s *server) attempt(w http.ResponseWriter, r *http.Request, user store.User) error {
	return notFound("attempt")
}
func (s *server) recording(w http.ResponseWriter, r *http.Request, user store.User) error {
	return notFound("recording")
}
