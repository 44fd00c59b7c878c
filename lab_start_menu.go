package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"drydock/labs"
	"drydock/labs/grade"
)

// menuChoice is what comes after a command of the menu; the zero value: all goes on as before.
type menuChoice struct {
	end     bool
	reset   bool
	variant string // of the reset; empty: the same
}

// leaves reports whether the shell that runs is left.
func (c menuChoice) leaves() bool { return c.end || c.reset }

// errNoCommand: there is no such command.
var errNoCommand = errors.New("the commands are tasks, answer TASK TEXT, hint TASK, reset [VARIANT] and end")

// answered is where the answers of commands go: words, or lines for a program.
type answered interface {
	standing(labs.RehearsalStanding)
	question(task labs.Task)
	answer(task labs.Task, right bool)
	hint(task labs.Task, hint labs.Hint, left bool)
}

// menuCommand does what one line says.
func menuCommand(ctx context.Context, r *labs.Rehearsal, line string, out answered) (menuChoice, error) {
	words := strings.Fields(line)
	switch {
	case words[0] == "end" && len(words) == 1:
		return menuChoice{end: true}, nil
	case words[0] == "reset" && len(words) <= 2:
		choice := menuChoice{reset: true}
		if len(words) == 2 {
			choice.variant = words[1]
			_, err := r.Standing().Lab.FindVariant(choice.variant)
			return choice, err
		}
		return choice, nil
	case words[0] == "tasks" && len(words) == 1:
		out.standing(r.Standing())
		return menuChoice{}, nil
	case words[0] == "hint" && len(words) == 2:
		task, err := taskOf(r, words[1])
		if err == nil {
			hint, left := r.Hint(task.ID)
			out.hint(task, hint, left)
		}
		return menuChoice{}, err
	case words[0] == "answer" && len(words) >= 2:
		_, text, _ := strings.Cut(strings.TrimSpace(line), words[1])
		return menuChoice{}, answerQuestion(r, words[1], strings.TrimSpace(text), out)
	}
	return menuChoice{}, errNoCommand
}

func taskOf(r *labs.Rehearsal, id string) (labs.Task, error) {
	var ids []string
	for _, task := range r.Standing().Lab.Tasks {
		if task.ID == id {
			return task, nil
		}
		ids = append(ids, task.ID)
	}
	return labs.Task{}, fmt.Errorf("there is no task %q; there are: %s", id, strings.Join(ids, ", "))
}

// answerQuestion judges an answer; without one it shows the question.
func answerQuestion(r *labs.Rehearsal, id, text string, out answered) error {
	task, err := taskOf(r, id)
	if err != nil {
		return err
	}
	if task.Ask == nil {
		return fmt.Errorf("the task %s asks nothing: it is done when the system is in order", id)
	}
	ask := *task.Ask
	ask.Choices = ask.ChoicesIn(r.Standing().Variant.Vars)
	task.Ask = &ask
	if text == "" {
		out.question(task)
		return nil
	}
	right, err := r.Answer(id, chosen(task.Ask, text))
	if err == nil {
		out.answer(task, right)
	}
	return err
}

// chosen are the choices with the numbers that were typed, with commas between
// them, or what was typed.
func chosen(ask *grade.Ask, text string) string {
	var choices []string
	for number := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(number))
		if err != nil || n < 1 || n > len(ask.Choices) {
			return text
		}
		choices = append(choices, ask.Choices[n-1])
	}
	return strings.Join(choices, "\n")
}

// commandOutput answers commands in words.
type commandOutput struct {
	words   *rehearsalWords
	newline string
}

func (o *commandOutput) printf(format string, args ...any) {
	fmt.Fprintf(o.words.out, format+o.newline, args...)
}

func (o *commandOutput) standing(s labs.RehearsalStanding) { o.words.standing(s) }

func (o *commandOutput) question(task labs.Task) {
	o.printf("%s", task.Ask.Text)
	for i, choice := range task.Ask.Choices {
		o.printf("  %d  %s", i+1, choice)
	}
}

func (o *commandOutput) answer(task labs.Task, right bool) {
	if right {
		o.printf("right. %s", task.Ask.Why)
	} else {
		o.printf("that is not it")
	}
}

func (o *commandOutput) hint(_ labs.Task, hint labs.Hint, left bool) {
	if left {
		o.printf("%s (costs %s)", hint.Text, counted(hint.Cost, "point"))
	} else {
		o.printf("there are no more hints")
	}
}
