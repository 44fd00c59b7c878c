// Quizzes within a text: choose, put in order or type; Check says what is
// right and why. Without this the answers are below each question, folded.

import { noteAnswer, notedAnswer } from "./progress.ts";

/** One kind of quiz: its controls, and what they hold. */
interface Kind {
  /** The answer as it is kept; empty as long as there is none. */
  answer(): string;
  /** Puts in an answer that was kept. */
  put(answer: string): void;
  judge(): Verdict;
  /** After a check nothing can be changed until the reader tries again. */
  lock(locked: boolean): void;
  focus(): void;
  missing: string;
}

interface Verdict {
  right: boolean;
  words: string; // empty where what explains it says enough
  why: Element[];
}

type Make = (box: HTMLElement, reveal: Element, form: HTMLElement, say: (words: string) => void) => Kind | undefined;
const kinds: Record<string, Make> = { choice, order, text };

export function quizzes(): void {
  const page = document.querySelector<HTMLElement>("[data-article]");
  const given = JSON.parse(page?.dataset.answers ?? "{}") as Record<string, string>;
  for (const box of document.querySelectorAll<HTMLElement>("[data-quiz]")) quiz(box, page?.dataset.article, given);
}

function make<K extends keyof HTMLElementTagNameMap>(name: K, className: string, ...content: (Node | string)[]): HTMLElementTagNameMap[K] {
  const e = document.createElement(name);
  e.className = className;
  e.append(...content);
  return e;
}

function quiz(box: HTMLElement, slug: string | undefined, given: Record<string, string>): void {
  const id = box.dataset.quiz ?? "";
  const reveal = box.querySelector(":scope > .quiz-answer");
  if (!reveal) return;
  const form = make("form", "quiz-form");
  const result = make("div", "quiz-result");
  result.setAttribute("role", "status");
  const say = (...content: (Node | string)[]) => result.replaceChildren(...content);
  const kind = kinds[box.dataset.kind ?? ""]?.(box, reveal, form, (words) => say(make("p", "", words)));
  if (!kind) return;
  const button = make("button", "button secondary", "Check");
  form.append(make("div", "quiz-actions", button), result);
  form.noValidate = true;
  reveal.before(form);

  let checked = false;
  const show = () => {
    const { right, words, why } = kind.judge();
    checked = true;
    kind.lock(true);
    box.classList.add(right ? "quiz-right" : "quiz-wrong");
    button.textContent = "Try again";
    say(...(words ? [verdict("p", "quiz-verdict", right, words)] : []), ...why.map(copyOf));
  };
  const again = () => {
    checked = false;
    kind.lock(false);
    box.classList.remove("quiz-right", "quiz-wrong");
    button.textContent = "Check";
    say();
    kind.focus();
  };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (checked) return again();
    const answer = kind.answer();
    if (!answer) return say(make("p", "", kind.missing));
    button.focus(); // what had the focus is locked now
    show();
    if (slug) noteAnswer(slug, id, answer);
  });
  const kept = (slug && notedAnswer(slug, id)) || given[id];
  if (kept) {
    kind.put(kept);
    if (kind.answer() === kept) show();
  }
}

/** Right and wrong by a sign and in words: colour is seen by not everybody. */
function verdict(name: "p" | "span", className: string, right: boolean, words: string): HTMLElement {
  const sign = make("span", "", right ? "✓" : "✗");
  sign.setAttribute("aria-hidden", "true");
  return make(name, `${className} ${right ? "right" : "wrong"}`, sign, ` ${words}`);
}

/** A copy of an explanation, without what may be on a page only once. */
function copyOf(why: Element): Element {
  const copy = why.cloneNode(true) as Element;
  for (const e of copy.querySelectorAll("[id]")) e.removeAttribute("id");
  for (const e of copy.querySelectorAll(".code-tools")) e.remove();
  return copy;
}

const items = (list: Element) => [...list.querySelectorAll<HTMLLIElement>(":scope > li")];

/** Signs of the items, which come and go with a check. */
function sign(item: Element, right?: boolean, words = ""): void {
  item.querySelector(":scope > .quiz-sign")?.remove();
  if (right !== undefined) item.append(verdict("span", "quiz-sign", right, words));
}

function choice(box: HTMLElement, reveal: Element, form: HTMLElement): Kind | undefined {
  const list = box.querySelector<HTMLElement>(":scope > .quiz-items");
  const how = box.querySelector(":scope > .quiz-how");
  if (!list || !how) return undefined;
  const several = list.hasAttribute("data-several");
  const inputs = items(list).map((item) => {
    const input = make("input", "");
    input.type = several ? "checkbox" : "radio";
    input.name = box.dataset.quiz ?? "";
    input.value = item.dataset.item ?? "";
    item.append(make("label", "", input, make("span", "", ...item.childNodes)));
    return input;
  });
  form.append(how, list);
  const why = (input: HTMLInputElement) => reveal.querySelector(`:scope > [data-item="${input.value}"]`);
  const isRight = (input: HTMLInputElement) => why(input)?.classList.contains("right") ?? false;
  const chosen = () => inputs.filter((input) => input.checked);
  return {
    missing: "Choose an answer first.",
    answer: () => chosen().map((input) => input.value).join(" "),
    put: (answer) => inputs.forEach((input) => (input.checked = answer.split(" ").includes(input.value))),
    focus: () => (chosen()[0] ?? inputs[0])?.focus(),
    lock: (locked) =>
      inputs.forEach((input) => {
        input.disabled = locked;
        sign(input.nextElementSibling ?? input, locked && input.checked ? isRight(input) : undefined, isRight(input) ? "right" : "wrong");
      }),
    judge: () => {
      const found = chosen().filter(isRight).length;
      const right = found === chosen().length && found === inputs.filter(isRight).length;
      const words = right ? "Right, that is all." : found === chosen().length ? "More than that is right." : "Not quite.";
      const explained = chosen().map(why).filter((e) => e !== null);
      return { right, words: several ? words : "", why: right ? [...explained, ...general(reveal)] : explained };
    },
  };
}

/** What explains the answer as a whole. */
const general = (reveal: Element) => [...reveal.querySelectorAll(":scope > .quiz-why:not([data-item])")];

function order(box: HTMLElement, reveal: Element, form: HTMLElement, say: (words: string) => void): Kind | undefined {
  const list = box.querySelector<HTMLElement>(":scope > .quiz-items");
  const how = box.querySelector(":scope > .quiz-how");
  if (!list || !how) return undefined;
  const right = list.dataset.order?.split(" ") ?? [];
  const shown = items(list);
  const move = (item: Element, by: number, button: HTMLElement) => {
    const all = items(list);
    const to = all.indexOf(item as HTMLLIElement) + by;
    const other = all[to];
    if (!other) return;
    if (by < 0) other.before(item);
    else other.after(item);
    button.focus(); // moving takes the focus away
    say(`Now ${to + 1} of ${all.length}.`);
  };
  shown.forEach((item, i) => {
    const words = make("span", "", ...item.childNodes);
    const buttons = [-1, 1].map((by) => {
      const button = make("button", "quiz-move", by < 0 ? "↑" : "↓");
      button.type = "button";
      button.setAttribute("aria-label", `${by < 0 ? "Up" : "Down"}: ${words.textContent}`);
      button.addEventListener("click", () => move(item, by, button));
      button.addEventListener("keydown", (event) => {
        const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
        if (!step) return;
        event.preventDefault();
        move(item, step, button);
      });
      return button;
    });
    item.value = i + 1; // it keeps its letter
    item.append(words, make("span", "quiz-moves", ...buttons));
  });
  how.textContent = "Put them in order: the arrows move a line, and so do the arrow keys on them.";
  form.append(how, list);
  const id = (item: HTMLElement) => item.dataset.item ?? "";
  return {
    missing: "",
    answer: () => items(list).map(id).join(" "),
    put: (answer) => list.append(...answer.split(" ").flatMap((one) => shown.filter((item) => id(item) === one))),
    focus: () => list.querySelector("button")?.focus(),
    lock: (locked) =>
      items(list).forEach((item, i) => {
        for (const button of item.querySelectorAll("button")) button.hidden = locked;
        sign(item, locked ? right[i] === id(item) : undefined, right[i] === id(item) ? "in place" : "not here");
      }),
    judge: () => {
      const placed = items(list).filter((item, i) => right[i] === id(item)).length;
      const all = placed === right.length;
      const words = all ? "Right." : placed ? `${placed} of ${right.length} are in their places.` : "None is in its place.";
      return { right: all, words, why: all ? general(reveal) : [] };
    },
  };
}

function text(box: HTMLElement, reveal: Element, form: HTMLElement): Kind {
  const input = make("input", "");
  input.id = `type-${box.dataset.quiz}`;
  input.maxLength = 80;
  input.autocomplete = "off";
  input.autocapitalize = "off";
  input.spellcheck = false;
  const label = make("label", "", "Your answer");
  label.htmlFor = input.id;
  form.append(make("div", "field", label, input));
  const same = (s: string) => s.trim().replace(/\s+/g, " ").toLowerCase();
  const accepted = [...reveal.querySelectorAll(":scope > .quiz-verdict code")].map((code) => same(code.textContent ?? ""));
  return {
    missing: "Type an answer first.",
    answer: () => input.value.trim(),
    put: (answer) => (input.value = answer),
    focus: () => input.select(),
    lock: (locked) => (input.readOnly = locked),
    judge: () => {
      const right = accepted.includes(same(input.value));
      return { right, words: right ? "Right." : "Not that.", why: right ? general(reveal) : [] };
    },
  };
}
