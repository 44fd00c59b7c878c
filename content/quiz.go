package content

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"html"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/yuin/goldmark/ast"
)

const (
	// maxChoices and maxOrdered are what a reader keeps in mind at once.
	maxChoices = 8
	maxOrdered = 8
	// minOrdered: two things have one wrong order, so that the page would tell.
	minOrdered = 3
	// AnswerLength is the most characters of an answer in a text, and of one
	// that is typed.
	AnswerLength = 80
)

// The kinds of quiz.
const (
	QuizChoice = "choice"
	QuizOrder  = "order"
	QuizText   = "text"
)

// Quiz is a question within a text.
type Quiz struct {
	// ID is made of the question's words, and Items of those of the choices or
	// steps: an answer is kept with them, and is forgotten when they change.
	ID       string
	Kind     string
	Question string
	Items    []string
	Line     int
}

// Valid reports whether an answer is one that the page can send: the items
// chosen, or all of them in an order, with spaces between, or a short text.
func (q Quiz) Valid(answer string) bool {
	if q.Kind == QuizText {
		return strings.TrimSpace(answer) != "" && utf8.ValidString(answer) && utf8.RuneCountInString(answer) <= AnswerLength
	}
	items := strings.Split(answer, " ")
	for i, item := range items {
		if !slices.Contains(q.Items, item) || slices.Contains(items[:i], item) {
			return false
		}
	}
	return q.Kind == QuizChoice || len(items) == len(q.Items)
}

// quizID is short enough for an attribute: some forty bits keep the questions
// of a text apart, and no two are allowed to be the same.
func quizID(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:5])
}

// quiz is a question with its answers. What stands between the two, such as
// code, belongs to the question.
func (r *reader) quiz(c callout) *elementNode {
	q := Quiz{Question: r.question(c), Line: c.line}
	if !strings.HasSuffix(q.Question, "?") {
		r.add(c.line, "a quiz asks: its first paragraph is the question, with a question mark at the end")
	}
	q.ID = quizID(q.Question)
	for _, other := range r.doc.Quizzes {
		if other.ID == q.ID {
			r.add(c.line, "the quiz on line %d asks the same", other.Line)
		}
	}
	id := html.EscapeString(r.opt.IDPrefix + "quiz-" + q.ID)
	c.title.open, c.title.close = fmt.Sprintf(`<p class="quiz-question" id="%s"><span class="quiz-word">Quiz</span> `, id), "</p>\n"
	box := element("", "</div>\n", c.title)
	answers := r.answers(c)
	if answers == nil {
		return nil
	}
	for n := c.quote.FirstChild(); n != answers; n = c.quote.FirstChild() {
		box.AppendChild(box, n)
	}
	c.quote.RemoveChild(c.quote, answers)
	r.quizKind(&q, box, answers, c.quote)
	box.open = fmt.Sprintf(`<div class="quiz" role="group" aria-labelledby="%s" data-quiz="%s" data-kind="%s">`+"\n", id, q.ID, q.Kind)
	r.doc.Quizzes = append(r.doc.Quizzes, q)
	return box
}

// question is the callout's first line, and those that belong to it while there
// is no question mark.
func (r *reader) question(c callout) string {
	first := words(r.plain(c.title))
	if strings.HasSuffix(first, "?") || c.rest == nil {
		return first
	}
	c.title.AppendChild(c.title, ast.NewString([]byte(" ")))
	c.title.take(c.rest)
	c.quote.RemoveChild(c.quote, c.rest)
	return words(r.plain(c.title))
}

// quizKind puts the answers and what explains them into the quiz.
func (r *reader) quizKind(q *Quiz, box *elementNode, answers ast.Node, after ast.Node) {
	reveal := element(`<details class="quiz-answer"><summary>Answer</summary>`+"\n", "</details>\n")
	list, isList := answers.(*ast.List)
	switch {
	case !isList:
		q.Kind = QuizText
		r.quizText(q, reveal, answers)
	case list.IsOrdered():
		q.Kind = QuizOrder
		box.AppendChild(box, r.quizOrder(q, reveal, list))
	default:
		q.Kind = QuizChoice
		box.AppendChild(box, r.quizChoice(q, reveal, list))
	}
	if q.Kind != QuizChoice && !after.HasChildren() {
		r.add(q.Line, "say in a paragraph after the answer why it is so; an empty line goes before it")
	}
	if after.HasChildren() {
		reveal.AppendChild(reveal, element(`<div class="quiz-why">`+"\n", "</div>\n").take(after))
	}
	box.AppendChild(box, reveal)
}

// typedAnswer begins the paragraph of a text to type.
const typedAnswer = "Answer:"

// answers finds the list or the paragraph with the answers.
func (r *reader) answers(c callout) ast.Node {
	for n := c.quote.FirstChild(); n != nil; n = n.NextSibling() {
		if n.Kind() == ast.KindList || n.Kind() == ast.KindParagraph && strings.HasPrefix(r.plain(n), typedAnswer) {
			return n
		}
	}
	opening := regexp.MustCompile(`^\w+ ?:`)
	for n := c.quote.FirstChild(); n != nil; n = n.NextSibling() {
		word := opening.FindString(r.plain(n))
		if word != "" && EditDistance(strings.ToLower(word), strings.ToLower(typedAnswer)) < 3 {
			r.add(r.line(n), "there is no %q in a quiz: did you mean %q?", word, typedAnswer)
			return nil
		}
	}
	r.add(c.line, "this quiz has no answers: a list of - [ ] wrong and - [x] right choices, a numbered list in its right order, or a paragraph Answer: `what is accepted`")
	return nil
}

// quizItems reads the first paragraph of each item of a list, which is moved
// to an element of its own. An item's id is made of its words.
func (r *reader) quizItems(q *Quiz, list *ast.List) (items []quizItem) {
	for n := list.FirstChild(); n != nil; n = n.NextSibling() {
		item := quizItem{line: r.line(n), node: n, shown: element("", "</li>\n")}
		if first := n.FirstChild(); first != nil && isText(first) {
			item.words = words(r.plain(first))
			item.first = first
		}
		if item.words == "" {
			r.add(item.line, "this item of the quiz says nothing")
		}
		item.id = quizID(item.words)
		if i := slices.Index(q.Items, item.id); i >= 0 {
			r.add(item.line, "the item on line %d says the same", items[i].line)
		}
		q.Items = append(q.Items, item.id)
		items = append(items, item)
	}
	return items
}

// quizItem is a choice, or a step to put in order.
type quizItem struct {
	line      int
	id, words string
	node      ast.Node     // the item of the list
	first     ast.Node     // its paragraph; nil without one
	shown     *elementNode // where it is put
}

// letter names the nth item, from 0: there are no more than eight.
func letter(n int) string { return string(rune('A' + n)) }
