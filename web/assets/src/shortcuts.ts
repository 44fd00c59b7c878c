// Single keys that lead through a page of reading. They do nothing while one
// types, nor together with Ctrl, Alt or Meta, and can be switched off.

import { singleKeys, switchSingleKeys } from "./keys.ts";

/** What a key does (but for the one of the search, which is on all pages), and whether it has something to do on this page. */
interface Shortcut {
  run: () => void;
  there: () => boolean;
}

const find = (selector: string) => document.querySelector<HTMLElement>(selector);

/** A key that does what pressing an element does. */
const press = (selector: string): Shortcut => ({ run: () => find(selector)?.click(), there: () => find(selector) !== null });

const sections = () => [...document.querySelectorAll<HTMLElement>("main h2[id], main h3[id]")];

/** Goes to a heading, with the focus, so that the Tab key goes on from there. */
function goTo(heading: HTMLElement): void {
  heading.tabIndex = -1;
  heading.focus({ preventScroll: true });
  heading.scrollIntoView({ block: "start" });
}

/** How far below the top of the window a heading still counts as the present one. */
const slack = 40;

/** The section one is in: of the heading that has the focus, as long as it is seen, else of the last above. */
function present(all: HTMLElement[]): number {
  const focused = all.findIndex((heading) => heading === document.activeElement);
  const box = all[focused]?.getBoundingClientRect();
  if (box && box.top >= -1 && box.bottom <= innerHeight) return focused;
  return all.filter((heading) => heading.getBoundingClientRect().top <= slack).length - 1;
}

function nextSection(): void {
  const all = sections();
  const next = all[present(all) + 1];
  if (next) goTo(next);
}

function previousSection(): void {
  const all = sections();
  const at = present(all);
  const begins = at >= 0 && all[at]!.getBoundingClientRect().top >= -1;
  const previous = all[begins ? at - 1 : at];
  if (previous) goTo(previous);
  else top();
}

function top(): void {
  scrollTo({ top: 0 });
  find("#main")?.focus({ preventScroll: true });
}

function contents(): void {
  const fold = find("[data-toc]");
  if (fold instanceof HTMLDetailsElement) fold.open = true;
  (fold?.querySelector<HTMLElement>("a[aria-current]") ?? fold?.querySelector<HTMLElement>("a"))?.focus();
}

function shortcuts(sheet: HTMLDialogElement): Map<string, Shortcut> {
  const hasSections = () => sections().length > 0;
  return new Map<string, Shortcut>([
    ["j", { run: nextSection, there: hasSections }],
    ["k", { run: previousSection, there: hasSections }],
    ["n", press("a[rel=next]")],
    ["p", press("a[rel=prev]")],
    ["c", { run: contents, there: () => find("[data-toc]") !== null }],
    ["t", press("[data-theme-toggle]")],
    ["g", { run: top, there: () => true }],
    ["?", { run: () => sheet.showModal(), there: () => true }],
  ]);
}

/** Whether the key goes into something that takes text, or into a list that jumps to a letter. */
function typing(event: KeyboardEvent): boolean {
  const at = event.target;
  return event.isComposing || (at instanceof HTMLElement && (at.isContentEditable || at.matches("input, textarea, select, [role=textbox], [role=combobox], [role=listbox], [role=application]")));
}

/** Listens for the keys, and shows the sheet that explains them. */
export function readByKeyboard(): void {
  const sheet = document.getElementById("shortcuts");
  if (!(sheet instanceof HTMLDialogElement)) return;
  const keys = shortcuts(sheet);
  const choice = sheet.querySelector<HTMLInputElement>("[data-shortcuts-switch]")!;
  choice.checked = singleKeys();
  choice.addEventListener("change", () => switchSingleKeys(choice.checked));
  for (const row of sheet.querySelectorAll<HTMLElement>("[data-key]")) {
    const shortcut = keys.get(row.dataset.key!);
    if (shortcut) row.hidden = !shortcut.there();
  }
  // A click beside the sheet closes it, as Escape does.
  sheet.addEventListener("click", (event) => {
    if (event.target === sheet) sheet.close();
  });
  const link = find("[data-shortcuts-open]");
  if (link) link.hidden = false;
  link?.addEventListener("click", () => sheet.showModal());

  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.repeat || event.ctrlKey || event.altKey || event.metaKey || typing(event)) return;
    if (!choice.checked || document.querySelector("dialog[open]")) return;
    const shortcut = keys.get(event.key);
    if (!shortcut?.there()) return;
    event.preventDefault();
    shortcut.run();
  });
}
