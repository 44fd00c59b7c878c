// What every page gains from a script. Each part does nothing where its
// elements are not on the page, and the page reads without any of it.

import { noted, noteReading, sendNotes } from "./progress.ts";
import { quizzes } from "./quiz.ts";
import { search } from "./search.ts";
import { tabs } from "./tabs.ts";
import { keepTimes, ownDates } from "./times.ts";

/** The switch between light and dark; the choice is a cookie, so that the server renders it without a flash. */
function themeToggle(): void {
  const button = document.querySelector<HTMLButtonElement>("[data-theme-toggle]");
  if (!button) return;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (document.documentElement.dataset.theme ?? (system.matches ? "dark" : "light")) === "dark";
  const show = () => button.setAttribute("aria-pressed", String(isDark()));
  button.hidden = false;
  show();
  system.addEventListener("change", show);
  button.addEventListener("click", () => {
    const theme = isDark() ? "light" : "dark";
    document.documentElement.dataset.theme = theme;
    const secure = location.protocol === "https:" ? "; secure" : "";
    document.cookie = `theme=${theme}; path=/; max-age=31536000; samesite=lax${secure}`;
    show();
    document.dispatchEvent(new CustomEvent("themechange", { detail: theme }));
  });
}

async function copy(text: string, button: HTMLButtonElement): Promise<void> {
  const label = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Press Ctrl+C";
  }
  setTimeout(() => (button.textContent = label), 1500);
}

/** Copy buttons of code blocks. What a command printed has none: it is not to be typed. */
function codeTools(): void {
  for (const block of document.querySelectorAll<HTMLElement>(".code")) {
    const code = block.querySelector("pre code") ?? block.querySelector("pre");
    if (!code || block.dataset.lang === "output" || block.querySelector(".code-tools")) continue;
    const tools = document.createElement("div");
    tools.className = "code-tools";
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Copy";
    button.setAttribute("aria-live", "polite");
    button.addEventListener("click", () => void copy(code.textContent?.trimEnd() ?? "", button));
    tools.append(button);
    block.append(tools);
  }
}

/** Buttons that copy the value of an input, such as an invite's link. */
function copyInputs(): void {
  for (const button of document.querySelectorAll<HTMLButtonElement>("[data-copy]")) {
    const input = document.getElementById(button.dataset.copy ?? "");
    if (!(input instanceof HTMLInputElement)) continue;
    button.hidden = false;
    input.addEventListener("focus", () => input.select());
    button.addEventListener("click", () => {
      input.select();
      void copy(input.value, button);
    });
  }
}

/** The table of contents: open beside the text, folded above it, and marking where the reader is. */
function contents(): void {
  const fold = document.querySelector<HTMLDetailsElement>("[data-toc]");
  if (!fold) return;
  const beside = matchMedia("(min-width: 64.01rem)");
  const set = () => {
    fold.open = beside.matches;
    fold.dataset.set = "";
  };
  set();
  beside.addEventListener("change", set);

  const links = new Map<string, HTMLAnchorElement>();
  for (const link of fold.querySelectorAll<HTMLAnchorElement>("a[href^='#']")) links.set(decodeURIComponent(link.hash.slice(1)), link);
  const headings = [...links.keys()].map((id) => document.getElementById(id)).filter((h) => h !== null);
  const mark = () => {
    let current: HTMLElement | undefined;
    for (const heading of headings) {
      if (heading.getBoundingClientRect().top > innerHeight * 0.3) break;
      current = heading;
    }
    for (const [id, link] of links) {
      if (id === current?.id) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
  };
  mark();
  addEventListener("scroll", () => requestAnimationFrame(mark), { passive: true });
}

/** Remembers how far an article was read: on the server for who is signed in, else in this browser. */
function readingProgress(): void {
  const page = document.querySelector<HTMLElement>("[data-article]");
  const prose = page?.querySelector<HTMLElement>("[data-prose]");
  const slug = page?.dataset.article;
  if (!page || !prose || !slug) return;
  let furthest = Math.max(Number(page.dataset.fraction) || 0, noted(slug));
  let saved = furthest;

  const resume = page.querySelector<HTMLElement>("[data-resume]");
  if (resume && furthest > 0.05 && furthest < 0.9 && scrollY === 0 && !location.hash) {
    resume.hidden = false;
    const target = furthest;
    resume.querySelector("button")?.addEventListener("click", () => {
      const top = prose.getBoundingClientRect().top + scrollY + target * prose.offsetHeight - innerHeight * 0.8;
      scrollTo({ top, behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
      resume.hidden = true;
    });
  }

  const read = () => {
    const box = prose.getBoundingClientRect();
    furthest = Math.max(furthest, Math.min(1, Math.max(0, (innerHeight - box.top) / box.height)));
  };
  const save = () => {
    if (furthest - saved < 0.01) return;
    saved = furthest;
    noteReading(slug, furthest);
  };
  addEventListener("scroll", read, { passive: true });
  setInterval(save, 5000);
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "hidden") save();
  });
}

/** A figure wider than the screen scrolls; not only with a finger. */
function wideFigures(): void {
  for (const figure of document.querySelectorAll<HTMLElement>(".prose figure")) {
    if (figure.scrollWidth > figure.clientWidth) figure.tabIndex = 0;
  }
}

/** Forms that need no button: a choice shows its result at once. */
function submitOnChange(): void {
  for (const select of document.querySelectorAll<HTMLSelectElement>("select[data-submit-on-change]")) {
    select.form?.querySelector<HTMLElement>("[data-no-script]")?.setAttribute("hidden", "");
    select.addEventListener("change", () => select.form?.requestSubmit());
  }
}

themeToggle();
keepTimes();
ownDates();
tabs();
quizzes();
codeTools();
copyInputs();
contents();
readingProgress();
void sendNotes();
wideFigures();
submitOnChange();
search();
