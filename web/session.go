package web

import "github.com/go-chi/chi/v5"

// routesSession adds the running lab's page, its streams and the report.
func (s *server) routesSession(r chi.Router) {
}
