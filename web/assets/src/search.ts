// Search as you type: a list below the masthead's field, and the page of
// results while its field is typed into. Without it the fields are forms.

import { singleKeys } from "./keys.ts";

/** Milliseconds after the last letter: people type one every hundred or two. */
const pause = 140;
/** A single letter finds nearly everything. */
const enough = 2;

export function search(): void {
  document.addEventListener("keydown", slash);
  const box = document.querySelector<HTMLFormElement>("form[data-search]");
  if (box) list(box);
  const page = document.querySelector<HTMLFormElement>("form[data-search-page]");
  if (page) results(page);
}

/** The key / leads to the field, from anywhere where it is not typed. */
function slash(event: KeyboardEvent): void {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || !singleKeys()) return;
  const at = event.target;
  if (at instanceof HTMLElement && (at.isContentEditable || at.matches("input, textarea, select"))) return;
  event.preventDefault();
  const field = [...document.querySelectorAll<HTMLInputElement>("[data-search-field]")].find((f) => f.checkVisibility());
  if (field) edit(field);
  else location.assign("/search");
}

/** Goes to the field, where the next letter takes the place of what was looked for. */
function edit(field: HTMLInputElement): void {
  field.focus();
  field.select();
}

/** Gets pages after a pause, and only the newest: a request that is overtaken is aborted. */
function newest(took: (html: string) => void): (url: string | null) => void {
  let timer = 0;
  let under = new AbortController();
  return (url) => {
    clearTimeout(timer);
    under.abort();
    if (url === null) return;
    const { signal } = (under = new AbortController());
    timer = setTimeout(async () => {
      try {
        const answer = await fetch(url, { signal, headers: { Accept: "text/html" } });
        const html = answer.ok ? await answer.text() : "";
        if (!signal.aborted && html) took(html);
      } catch (error) {
        // Overtaken, or the server is away: Enter still asks for the page of results, which then says so.
        if (!signal.aborted) console.debug("search", error);
      }
    }, pause);
  };
}

/** What is read out: how much was found. */
function announcer(beside: HTMLElement): (text: string) => void {
  const status = document.createElement("p");
  status.className = "visually-hidden";
  status.setAttribute("role", "status");
  beside.append(status);
  return (text) => (status.textContent = text);
}

/** Makes the masthead's field a combobox, with the pages found in its list. */
function list(form: HTMLFormElement): void {
  const field = form.querySelector<HTMLInputElement>("[data-search-field]");
  if (!field) return;
  const options = document.createElement("div");
  options.id = "search-options";
  options.className = "search-options";
  options.hidden = true;
  options.setAttribute("role", "listbox");
  options.setAttribute("aria-label", "Pages found");
  form.append(options);
  const announce = announcer(form);
  field.setAttribute("role", "combobox");
  field.setAttribute("aria-autocomplete", "list");
  field.setAttribute("aria-controls", options.id);
  field.setAttribute("aria-expanded", "false");
  let styled: Promise<void> | undefined;
  const style = () => (styled ??= loadSheet(form));
  field.addEventListener("focus", style, { once: true });

  let active = -1;
  const all = () => [...options.querySelectorAll<HTMLAnchorElement>("[role=option]")];
  const show = (on: boolean) => {
    options.hidden = !on;
    field.setAttribute("aria-expanded", String(on));
    if (!on) choose(-1);
  };
  const choose = (index: number) => {
    active = index;
    field.removeAttribute("aria-activedescendant");
    for (const [i, option] of all().entries()) {
      option.setAttribute("aria-selected", String(i === index));
      if (i !== index) continue;
      field.setAttribute("aria-activedescendant", option.id);
      option.scrollIntoView({ block: "nearest" });
    }
  };
  const get = newest((html) => {
    const template = document.createElement("template");
    template.innerHTML = html; // made by our own server's templates
    const found = template.content.firstElementChild;
    options.replaceChildren(...(found?.children ?? []));
    choose(-1);
    announce(found?.getAttribute("data-status") ?? "");
    void style().then(() => show(options.childElementCount > 0 && document.activeElement === field));
  });
  const ask = () => {
    const text = field.value.trimStart();
    get(text.length < enough ? null : `/search/suggest?${new URLSearchParams({ q: text })}`);
    if (text.length < enough) show(false);
  };
  field.addEventListener("input", ask);
  field.addEventListener("keydown", (event) => {
    const count = all().length;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (options.hidden) {
        if (count > 0) show(true);
        else ask();
        return;
      }
      const step = event.key === "ArrowDown" ? 1 : -1;
      // From the last to the field and on to the first, as from the first back.
      choose(((active + 1 + step + count + 1) % (count + 1)) - 1);
    } else if (event.key === "Enter" && active >= 0 && !event.isComposing) {
      event.preventDefault();
      all()[active]?.click();
    } else if (event.key === "Escape" && !options.hidden) {
      event.preventDefault(); // the text stays: a second Escape clears it
      get(null);
      show(false);
    }
  });
  field.addEventListener("blur", () => {
    get(null);
    show(false);
  });
  options.addEventListener("pointerdown", (event) => event.preventDefault()); // keeps the focus in the field
  options.addEventListener("click", () => show(false)); // a link may lead to a heading of this very page
}

/** The list's looks are loaded when somebody begins to search: most readers of a page don't. */
function loadSheet(form: HTMLFormElement): Promise<void> {
  const link = document.createElement("link");
  link.rel = "stylesheet";
  link.href = form.dataset.sheet ?? "";
  return new Promise((loaded) => {
    link.addEventListener("load", () => loaded());
    link.addEventListener("error", () => loaded()); // plain is better than nothing
    document.head.append(link);
  });
}

/** Keeps the page of results up to date with what is typed, and its address with it. */
function results(form: HTMLFormElement): void {
  const field = form.querySelector<HTMLInputElement>("[data-search-field]");
  if (!field) return;
  const announce = announcer(form);
  let address = "";
  const get = newest((html) => {
    const page = new DOMParser().parseFromString(html, "text/html");
    const fresh = page.getElementById("search-results");
    if (!fresh) return;
    document.getElementById("search-results")?.replaceWith(fresh);
    document.title = page.title;
    history.replaceState(null, "", address);
    announce(fresh.dataset.status ?? "");
  });
  field.addEventListener("input", () => {
    const fields = new URLSearchParams([...new FormData(form)].map(([name, value]) => [name, String(value)]));
    address = `${form.action}?${fields}`;
    get(address);
  });
  const hits = () => [...document.querySelectorAll<HTMLElement>("#search-results [data-hit]")];
  document.addEventListener("keydown", (event) => {
    const at = event.target === field ? -1 : hits().findIndex((hit) => hit === event.target);
    if (event.target !== field && at < 0) return;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      const next = event.key === "ArrowDown" ? at + 1 : at - 1;
      const to = next === -1 ? field : hits()[next];
      if (!to) return;
      event.preventDefault();
      to.focus();
    } else if (event.key === "Escape" && at >= 0) {
      edit(field);
    }
  });
}
