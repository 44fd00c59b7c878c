// The terminal pane: tabs, search, text size.

import type { ISearchOptions } from "@xterm/addon-search";
import { terminalTheme, onThemeChange } from "./theme.ts";
import { ShellTab, type Host } from "./terminal.ts";

const maxTabs = 8; // the server's limit, too
const sizes = { smallest: 9, usual: 14, largest: 28 };
const stored = { size: "terminal:size", reader: "terminal:reader" };

/** What the pane needs of the page. */
export interface Page {
  /** The address that those of the terminals begin with. */
  base: string;
  controls: boolean;
  maxPaste: number;
  run(): string;
  say(text: string): void;
  /** A key for the page; returns true when it took it. */
  key(event: KeyboardEvent): boolean;
  post(path: string): Promise<boolean>;
}

export class Workbench {
  private readonly tabs = new Map<string, ShellTab>();
  private active: ShellTab | undefined;
  private size = clampSize(Number(localStorage.getItem(stored.size)) || sizes.usual);
  private reader = localStorage.getItem(stored.reader) === "on";
  private readonly list: HTMLElement;
  private readonly screens: HTMLElement;
  private readonly searchForm: HTMLFormElement;
  private readonly host: Host;
  private opened = false;

  constructor(
    private readonly pane: HTMLElement,
    private readonly page: Page,
  ) {
    this.list = this.find("[data-tabs]");
    this.screens = this.find("[data-terminals]");
    this.searchForm = this.find<HTMLFormElement>("[data-search-form]");
    this.host = {
      ...page,
      fontSize: () => this.size,
      screenReader: () => this.reader,
      gone: (tab, why) => {
        this.remove(tab);
        if (why) page.say(why);
      },
      key: (event) => this.key(event) || page.key(event),
    };
    this.tools();
    this.searching();
    onThemeChange(() => {
      const theme = terminalTheme();
      for (const tab of this.tabs.values()) tab.term.options.theme = theme;
    });
    addEventListener("online", () => this.hurry());
  }

  private find<E extends HTMLElement = HTMLElement>(selector: string): E {
    const found = this.pane.querySelector<E>(selector);
    if (!found) throw new Error(`the terminal pane has no ${selector}`);
    return found;
  }

  /** Connects: called once the sandbox is there. */
  open(): void {
    if (this.opened) return;
    this.opened = true;
    const names = (this.list.dataset.tabs ?? "1").split(" ").filter(Boolean);
    for (const name of names) this.add(name);
    this.show(this.tabs.get(names[0]!)!);
  }

  /** Begins anew after a reset: one terminal, with a new shell. */
  restart(): void {
    const [first, ...others] = [...this.tabs.values()];
    for (const tab of others) this.remove(tab);
    if (first) {
      first.restart();
      return;
    }
    this.opened = false;
    this.list.dataset.tabs = "1";
    this.open();
  }

  /** Ends all connections: the session is over. */
  close(): void {
    for (const tab of [...this.tabs.values()]) this.remove(tab);
  }

  hurry(): void {
    for (const tab of this.tabs.values()) tab.hurry();
  }

  focus(): void {
    this.active?.term.focus();
  }

  has(element: Element | null): boolean {
    return this.screens.contains(element);
  }

  /** Types commands into the terminal that is shown. */
  run(command: string): boolean {
    const done = this.active?.type(command.replaceAll("\n", "\r") + "\r") ?? false;
    if (done) this.focus();
    return done;
  }

  private add(name: string): ShellTab {
    const tab = new ShellTab(name, this.host, this.screens);
    this.tabs.set(name, tab);
    const button = document.createElement("button");
    button.type = "button";
    button.id = `tab-${name}`;
    button.className = "terminal-tab";
    button.setAttribute("role", "tab");
    button.setAttribute("aria-controls", tab.panel.id);
    button.textContent = `Terminal ${name}`;
    button.addEventListener("click", () => {
      this.show(tab);
      tab.term.focus();
    });
    button.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (step) this.step(step, true);
      if (event.key === "Delete") void this.closeTab();
    });
    this.list.append(button);
    tab.panel.hidden = true;
    this.changed();
    return tab;
  }

  private show(tab: ShellTab): void {
    this.active = tab;
    for (const [name, other] of this.tabs) {
      const on = other === tab;
      other.panel.hidden = !on;
      const button = document.getElementById(`tab-${name}`);
      button?.setAttribute("aria-selected", String(on));
      button?.setAttribute("tabindex", on ? "0" : "-1");
    }
    tab.refit();
    tab.connect();
  }

  private step(by: number, onTab = false): void {
    const all = [...this.tabs.values()];
    const next = all[(all.indexOf(this.active!) + by + all.length) % all.length];
    if (!next) return;
    this.show(next);
    if (onTab) document.getElementById(`tab-${next.name}`)?.focus();
    else next.term.focus();
  }

  private create(): void {
    if (!this.page.controls || !this.opened) return;
    for (let i = 1; i <= maxTabs; i++) {
      if (this.tabs.has(String(i))) continue;
      const tab = this.add(String(i));
      this.show(tab);
      tab.term.focus();
      return;
    }
    this.page.say(`No more than ${maxTabs} terminals can be open at once.`);
  }

  private async closeTab(): Promise<void> {
    const tab = this.active;
    if (!tab || !this.page.controls || this.tabs.size < 2) return;
    if (await this.page.post(`${this.page.base}/tabs/${tab.name}/close`)) this.remove(tab);
  }

  private remove(tab: ShellTab): void {
    if (this.tabs.get(tab.name) !== tab) return;
    const focused = tab.panel.contains(document.activeElement);
    this.tabs.delete(tab.name);
    document.getElementById(`tab-${tab.name}`)?.remove();
    tab.dispose();
    this.changed();
    const next = [...this.tabs.values()].at(-1);
    if (this.active === tab && next) {
      this.show(next);
      if (focused) next.term.focus();
    }
  }

  private changed(): void {
    this.pane.querySelector("[data-close-tab]")?.toggleAttribute("hidden", this.tabs.size < 2);
  }

  private tools(): void {
    const on = (selector: string, does: () => void) => this.pane.querySelector(selector)?.addEventListener("click", does);
    on("[data-new-tab]", () => this.create());
    on("[data-close-tab]", () => void this.closeTab());
    on("[data-smaller]", () => this.resize(this.size - 1));
    on("[data-larger]", () => this.resize(this.size + 1));
    const reader = this.find("[data-reader]");
    reader.setAttribute("aria-pressed", String(this.reader));
    reader.addEventListener("click", () => {
      this.reader = !this.reader;
      localStorage.setItem(stored.reader, this.reader ? "on" : "off");
      reader.setAttribute("aria-pressed", String(this.reader));
      for (const tab of this.tabs.values()) tab.term.options.screenReaderMode = this.reader;
      this.page.say(this.reader ? "The terminal is now readable to a screen reader." : "The screen reader mode of the terminal is off.");
    });
  }

  private resize(size: number): void {
    this.size = clampSize(size);
    localStorage.setItem(stored.size, String(this.size));
    for (const tab of this.tabs.values()) {
      tab.term.options.fontSize = this.size;
      tab.refit();
    }
  }

  private searching(): void {
    const input = this.find<HTMLInputElement>("#terminal-search");
    const count = this.find("[data-search-count]");
    const options = (incremental = false): ISearchOptions => {
      const css = getComputedStyle(this.pane);
      return {
        incremental,
        decorations: {
          matchBackground: css.getPropertyValue("--match").trim(),
          matchOverviewRuler: css.getPropertyValue("--match").trim(),
          activeMatchBackground: css.getPropertyValue("--match-active").trim(),
          activeMatchColorOverviewRuler: css.getPropertyValue("--match-active").trim(),
        },
      };
    };
    const find = (back: boolean, incremental = false) => {
      const search = this.active?.search;
      if (!search) return;
      const found = back ? search.findPrevious(input.value, options()) : search.findNext(input.value, options(incremental));
      count.textContent = input.value === "" || found ? "" : "not found";
    };
    this.pane.querySelector("[data-search]")?.addEventListener("click", () => this.openSearch());
    this.pane.querySelector("[data-search-close]")?.addEventListener("click", () => this.closeSearch());
    this.pane.querySelector("[data-search-previous]")?.addEventListener("click", () => find(true));
    input.addEventListener("input", () => find(false, true));
    input.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.closeSearch();
      if (event.key === "Enter" && event.shiftKey) {
        event.preventDefault();
        find(true);
      }
    });
    this.searchForm.addEventListener("submit", (event) => {
      event.preventDefault();
      find(false);
    });
  }

  private openSearch(): void {
    this.searchForm.hidden = false;
    const input = this.find<HTMLInputElement>("#terminal-search");
    const selected = this.active?.term.getSelection() ?? "";
    if (selected && !selected.includes("\n")) input.value = selected;
    input.focus();
    input.select();
  }

  private closeSearch(): void {
    this.searchForm.hidden = true;
    this.active?.search.clearDecorations();
    this.focus();
  }

  /** Keys of the pane; true for those that it took. */
  key(event: KeyboardEvent): boolean {
    const chord = event.ctrlKey && event.shiftKey && !event.altKey && !event.metaKey;
    const does = chord
      ? { KeyF: () => this.openSearch(), KeyE: () => this.create() }[event.code]
      : event.altKey && !event.ctrlKey
        ? { PageUp: () => this.step(-1), PageDown: () => this.step(1) }[event.code]
        : undefined;
    if (!does) return false;
    event.preventDefault();
    does();
    return true;
  }
}

function clampSize(size: number): number {
  return Math.min(sizes.largest, Math.max(sizes.smallest, size));
}
