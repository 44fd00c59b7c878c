package web

import (
	"net/http"
	"strconv"

	"drydock/content"
)

// postsPerPage keeps a page of posts to a few screens.
const postsPerPage = 20

// postsView is a page of all articles by date.
type postsView struct {
	Posts       []articleCard
	Page, Pages int // from 1
}

// url is the address of another page of the list.
func (postsView) url(page int) string {
	if page <= 1 {
		return "/posts"
	}
	return "/posts?page=" + strconv.Itoa(page)
}

func (s *server) posts(w http.ResponseWriter, r *http.Request) error {
	articles := s.Library().Articles
	view := postsView{Page: 1, Pages: max(1, (len(articles)+postsPerPage-1)/postsPerPage)}
	if asked := r.URL.Query().Get("page"); asked != "" {
		n, err := strconv.Atoi(asked)
		if err != nil || n < 1 || n > view.Pages {
			return notFound("page of posts", link{"/posts", "The newest articles"})
		}
		view.Page = n
	}
	readings, err := s.readings(r.Context())
	if err != nil {
		return err
	}
	view.Posts = s.articleCards(page(articles, view.Page), readings)
	title := "Articles by date"
	if view.Page > 1 {
		title += ", page " + strconv.Itoa(view.Page)
	}
	page := s.reading(r, title)
	page.Description = "All articles, newest first."
	return s.render(w, r, http.StatusOK, postsPage(page, view))
}

// page cuts one page, from 1, out of all articles.
func page(all []*content.Article, number int) []*content.Article {
	first := (number - 1) * postsPerPage
	return all[min(first, len(all)):min(first+postsPerPage, len(all))]
}
