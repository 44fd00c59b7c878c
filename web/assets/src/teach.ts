// The live table of an instructor: one EventSource whose messages carry rows
// rendered by the server, which replace those of the page.

import { writeTimes } from "./times.ts";

/** Why no htmx: under the content policy its evaluated attributes and injected styles are off, and this is all that is left to do. */
function live(table: HTMLTableElement): void {
  const source = new EventSource(table.dataset.teach ?? "");
  const status = document.querySelector<HTMLElement>("[data-live]");
  const say = (on: boolean, text: string) => {
    if (!status || status.textContent === text) return;
    status.toggleAttribute("data-on", on);
    status.toggleAttribute("data-off", !on);
    status.textContent = text;
  };
  let fresh = true; // what follows a connect is how things stand, not what changed
  source.addEventListener("open", () => {
    fresh = true;
    say(true, "Live: changes appear by themselves.");
  });
  source.addEventListener("error", () => say(false, "The connection is lost. Trying again …"));
  source.addEventListener("rows", (e: MessageEvent<string>) => {
    const template = document.createElement("template");
    template.innerHTML = e.data; // made by our own server's templates
    for (const body of [...template.content.querySelectorAll("tbody")]) put(table, body, !fresh);
    fresh = false;
    table.closest<HTMLElement>("[data-teach-table]")?.removeAttribute("hidden");
    document.querySelector(".empty")?.remove();
    writeTimes();
  });
  source.addEventListener("summary", (e: MessageEvent<string>) => {
    const template = document.createElement("template");
    template.innerHTML = e.data;
    document.getElementById("teach-summary")?.replaceWith(template.content);
  });
  source.addEventListener("gone", (e: MessageEvent<string>) => document.getElementById(e.data)?.remove());
}

/** Puts a learner's rows in the place of the old ones, or where the name belongs. */
function put(table: HTMLTableElement, body: HTMLTableSectionElement, changed: boolean): void {
  const old = document.getElementById(body.id);
  body.classList.toggle("changed", changed);
  if (old) {
    const focused = old.contains(document.activeElement);
    old.replaceWith(body);
    if (focused) body.querySelector<HTMLElement>("a")?.focus();
    return;
  }
  const name = body.dataset.name ?? "";
  const after = [...table.tBodies].find((other) => (other.dataset.name ?? "") > name);
  table.insertBefore(body, after ?? null);
}

const table = document.querySelector<HTMLTableElement>("table[data-teach]");
if (table) {
  live(table);
}
