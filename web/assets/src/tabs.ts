// Tabs: one of several panels at a time, as the ARIA Authoring Practices have
// them. Without this all panels are there, one below the other.

import { notes } from "./progress.ts";

const key = (names: string[]) => `tab:${names.join("|")}`;

/** A row of tabs and its panels. */
interface Row {
  names: string[];
  tabs: HTMLElement[];
  panels: HTMLElement[];
}

export function tabs(): void {
  const rows = [...document.querySelectorAll<HTMLElement>(".tabs")].map(makeRow);
  for (const row of rows) {
    const kept = row.names.indexOf(notes()?.getItem(key(row.names)) ?? "");
    show(row, Math.max(kept, 0));
    row.tabs.forEach((tab, i) => {
      tab.addEventListener("click", () => choose(rows, row, i));
      tab.addEventListener("keydown", (event) => {
        const last = row.tabs.length - 1;
        const to = { ArrowLeft: i ? i - 1 : last, ArrowRight: i < last ? i + 1 : 0, Home: 0, End: last }[event.key];
        if (to === undefined) return;
        event.preventDefault();
        choose(rows, row, to);
        row.tabs[to]?.focus();
      });
    });
  }
  const reveal = () => {
    const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const panel = target && target.closest<HTMLElement>(".tab[hidden]");
    const row = rows.find((r) => panel && r.panels.includes(panel));
    if (!target || !panel || !row) return;
    show(row, row.panels.indexOf(panel));
    target.scrollIntoView();
  };
  reveal();
  addEventListener("hashchange", reveal);
}

function makeRow(box: HTMLElement): Row {
  const panels = [...box.querySelectorAll<HTMLElement>(":scope > .tab")];
  const title = box.querySelector<HTMLElement>(":scope > .tabs-title");
  const list = document.createElement("div");
  list.className = "tab-list";
  list.setAttribute("role", "tablist");
  list.setAttribute("aria-labelledby", title?.id ?? "");
  const row: Row = { names: [], tabs: [], panels };
  panels.forEach((panel, i) => {
    const name = panel.querySelector<HTMLElement>(":scope > .tab-name");
    const tab = document.createElement("button");
    tab.type = "button";
    tab.append(...(name?.cloneNode(true).childNodes ?? []));
    tab.id = `${title?.id}-tab-${i + 1}`;
    tab.setAttribute("role", "tab");
    panel.id = `${title?.id}-panel-${i + 1}`;
    tab.setAttribute("aria-controls", panel.id);
    panel.setAttribute("role", "tabpanel");
    panel.setAttribute("aria-labelledby", tab.id);
    if (!panel.querySelector("a, button, input, summary, [tabindex]")) panel.tabIndex = 0;
    list.append(tab);
    row.names.push(tab.textContent ?? "");
    row.tabs.push(tab);
  });
  panels[0]?.before(list);
  box.classList.add("tabbed");
  return row;
}

function show(row: Row, chosen: number): void {
  row.tabs.forEach((tab, i) => {
    tab.setAttribute("aria-selected", String(i === chosen));
    tab.tabIndex = i === chosen ? 0 : -1;
  });
  row.panels.forEach((panel, i) => (panel.hidden = i !== chosen));
}

/** Shows a tab here and wherever else the names are the same; what the reader looks at stays where it is. */
function choose(rows: Row[], row: Row, chosen: number): void {
  const tab = row.tabs[chosen];
  const before = tab?.getBoundingClientRect().top ?? 0;
  for (const other of rows) if (key(other.names) === key(row.names)) show(other, chosen);
  scrollBy({ top: (tab?.getBoundingClientRect().top ?? 0) - before, behavior: "instant" });
  try {
    notes()?.setItem(key(row.names), row.names[chosen] ?? "");
  } catch {
    // it is full: chosen for this page only
  }
}
