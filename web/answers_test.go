package web

import (
	"strings"
	"testing"
	"testing/fstest"

	"drydock/content"
)

// quizArticle has a quiz of each kind, and two rows of tabs with the same names.
const quizArticle = `---
title: Pods
summary: About them.
published: 2026-11-22
---
A pod has one address[^1].

> [!ASIDE]
> It was named after peas.

> [!QUIZ] Who sets the address?
> - [ ] the kubelet
>
>   It asks for it.
> - [x] the CNI plugin
>
>   It is called for it.

> [!QUIZ] Which of these share it?
> - [x] two containers of a pod
>
>   They do.
> - [ ] two pods
>
>   They don't.
> - [x] its init containers
>
>   They do, too.
>
> All is the pod's.

> [!QUIZ] In which order does it start?
> 1. the sandbox
> 2. the init containers
> 3. the containers
>
> One after the other.

> [!QUIZ] Which signal cannot be caught?
> Answer: ` + "`SIGKILL`, `KILL`" + `
>
> It is never delivered.

> [!TABS] The runtime
> - containerd
>
>   Its own socket.
> - CRI-O
>
>   Another socket[^1].

> [!DEPTH] What pause does
> Nothing at all.

> [!TABS] The runtime, again
> - containerd
>
>   Here.
> - CRI-O
>
>   There.

[^1]: For each family.
`

// quizLibrary is a library of that article.
func quizLibrary(t *testing.T) *content.Library {
	t.Helper()
	library, err := content.Load(fstest.MapFS{
		"kubernetes/track.yaml":    {Data: []byte("title: Kubernetes\nsummary: Clusters.\norder: 1\n")},
		"kubernetes/pods/index.md": {Data: []byte(quizArticle)},
	})
	if err != nil {
		t.Fatal(err)
	}
	return library
}

func TestAnswersAreKept(t *testing.T) {
	site := newSite(t)
	site.library = quizLibrary(t)
	article, _ := site.library.Article("pods")
	if len(article.Quizzes) != 4 {
		t.Fatalf("the article has the quizzes %+v", article.Quizzes)
	}
	choice, text := article.Quizzes[0], article.Quizzes[3]
	ada, _ := site.learner("ada", 0)
	bob, _ := site.learner("bob", 0)
	const path = "/articles/pods/answers"
	ada.must(204, ada.post(path, "quiz", choice.ID, "answer", choice.Items[0]))
	ada.must(204, ada.post(path, "quiz", choice.ID, "answer", choice.Items[1]))
	ada.must(204, ada.post(path, "quiz", text.ID, "answer", `a "quoted" <answer>`))
	page := ada.get("/articles/pods").body
	checkHTML(t, "/articles/pods", page)
	for _, want := range []string{choice.ID + "&#34;:&#34;" + choice.Items[1], `a \&#34;quoted\&#34; \u003canswer\u003e`} {
		if !strings.Contains(page, want) {
			t.Errorf("no %s in the page:\n%s", want, page)
		}
	}
	if page := bob.get("/articles/pods").body; strings.Contains(page, "quoted") {
		t.Error("another learner sees what was answered")
	}
	if page := site.browser().get("/articles/pods").body; strings.Contains(page, "data-answers") {
		t.Error("visitors' answers are in their browsers, and not in the page")
	}
	ada.must(400, ada.post(path, "quiz", choice.ID, "answer", "x"))
	ada.must(400, ada.post(path, "quiz", text.ID, "answer", strings.Repeat("a", content.AnswerLength+1)))
	ada.must(404, ada.post(path, "quiz", "x", "answer", "x"))
	ada.must(404, ada.post("/articles/no-such/answers", "quiz", choice.ID, "answer", choice.Items[0]))
	visitor := site.browser()
	visitor.must(401, visitor.post(path, "quiz", choice.ID, "answer", choice.Items[0]))
}
