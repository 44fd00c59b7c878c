// The page of a running lab.

import { follow } from "./fragments.ts";
import { Panes } from "./panes.ts";
import { pageTools } from "./tools.ts";
import { Workbench } from "./workbench.ts";

const root = document.getElementById("session")!;
const session = root.dataset.session!;
const controls = root.dataset.controls === "true";
const clockSkew = Number(root.dataset.now) - Date.now(); // the server's clock counts

const facts = () => document.getElementById("session-facts")!.dataset;
const now = () => Date.now() + clockSkew;

function announce(text: string): void {
  document.getElementById("announce")!.textContent = text;
}

const { say, post } = pageTools();

// Terminals

const bench = new Workbench(document.getElementById("terminal-pane")!, {
  base: `/sessions/${session}`,
  controls,
  maxPaste: Number(root.dataset.maxPaste),
  run: () => facts().run ?? "0",
  say,
  key: pageKey,
  post,
});
const panes = new Panes(
  root,
  () => bench.focus(),
  () => bench.has(document.activeElement),
);

function pageKey(event: KeyboardEvent): boolean {
  const swap = (event.key === "F6" && !event.shiftKey) || (event.ctrlKey && event.code === "Backquote");
  if (!swap) return false;
  event.preventDefault();
  panes.swap();
  return true;
}

document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || bench.has(event.target as Element) || document.querySelector("dialog[open]")) return;
  if (!pageKey(event)) bench.key(event);
});

/** Buttons that type a block of the instructions into the terminal. */
function runnable(): void {
  if (!controls) return;
  for (const block of document.querySelectorAll<HTMLElement>(".instructions .code[data-run]")) {
    const tools = block.querySelector(".code-tools") ?? block.appendChild(document.createElement("div"));
    tools.classList.add("code-tools");
    const button = document.createElement("button");
    button.type = "button";
    button.className = "run";
    button.textContent = "Run in terminal";
    button.addEventListener("click", () => {
      const command = block.querySelector("pre")?.textContent?.trimEnd() ?? "";
      panes.show("workbench");
      if (!bench.run(command)) say("The terminal is not connected yet. Wait until its prompt is there.");
    });
    tools.prepend(button);
  }
}

// What the server says

let phase = "";
let run = "";

/** Follows the session from one phase to the next. */
function phaseChanged(): void {
  const f = facts();
  const before = phase;
  phase = f.phase ?? "";
  root.dataset.phase = phase;
  if (phase === "running" || phase === "trouble") {
    if (run !== "" && run !== f.run) bench.restart();
    else bench.open();
    if (before === "starting") {
      bench.hurry();
      announce("Your sandbox is ready.");
      if (document.activeElement === document.body) bench.focus();
    }
    run = f.run ?? "";
  }
  if (f.over !== "true" || before === phase) return;
  bench.close();
  if (before !== "") announce(document.getElementById("session-start")?.textContent?.trim() ?? "");
}

let told = { ...facts() };

/** Says to a screen reader what changed besides the phase. */
function stateChanged(): void {
  const f = facts();
  const words = (id: string) => document.getElementById(id)?.textContent?.replace(/\s+/g, " ").trim() ?? "";
  if (f.asleep !== told.asleep) announce(f.asleep === "true" ? words("session-banner") : "The sandbox is awake.");
  if (told.asleep === "true" && f.asleep !== "true") bench.hurry();
  if (f.warned !== told.warned && f.warned !== "0") announce(words("time-warning"));
  if (f.place !== told.place && f.place !== "0") announce(words("queue-place"));
  told = { ...f };
}

// A key in the terminal wakes a sandbox that sleeps, also one that the terminal
// has no connection to yet.
let woken = 0;
document.getElementById("terminal-pane")!.addEventListener(
  "keydown",
  () => {
    if (!controls || facts().asleep !== "true" || Date.now() - woken < 2000) return;
    woken = Date.now();
    void post(`/sessions/${session}/wake`);
  },
  true,
);

const again = follow(`/sessions/${session}/events`, root.dataset.seq ?? "", {
  changing(old, fresh) {
    if (fresh.classList.contains("task-done") && !old.classList.contains("task-done")) fresh.classList.add("just-done");
    if (fresh.dataset.task && old.dataset.state !== fresh.dataset.state) taskChanged(old, fresh);
    if (fresh.id === "guards" && Number(fresh.dataset.violated) > Number(old.dataset.violated)) {
      const words = [...fresh.querySelectorAll(".guard-violated")].at(-1)?.textContent?.trim() ?? "";
      say(`Careful. ${words}`);
    }
  },
  changed() {
    phaseChanged();
    stateChanged();
    tick();
  },
  connected(on) {
    document.getElementById("connection")!.hidden = on;
  },
  over() {
    if (facts().over === "true") return;
    location.reload(); // it has ended, or the reader was signed out: the server says which
  },
});

function taskChanged(old: HTMLElement, fresh: HTMLElement): void {
  const { title, earned, max, state } = fresh.dataset;
  if (state === "done") {
    announce(`Task done: ${title}. ${earned} of ${max} points.`);
  } else if (old.dataset.state === "done") {
    announce(`No longer done: ${title}.`);
  }
}

document.querySelector("[data-retry-now]")?.addEventListener("click", () => {
  again();
  bench.hurry();
});
addEventListener("online", again);

// Forms

document.addEventListener("submit", (event) => {
  const form = event.target as HTMLFormElement;
  if (!form.matches("[data-quiet], [data-leave]")) return;
  event.preventDefault();
  void submit(form);
});

async function submit(form: HTMLFormElement): Promise<void> {
  const buttons = [...form.querySelectorAll<HTMLButtonElement>("button[type=submit]")];
  const body = new URLSearchParams([...new FormData(form)].map(([k, v]) => [k, String(v)]));
  for (const b of buttons) b.disabled = true;
  const done = await post(form.getAttribute("action")!, body);
  for (const b of buttons) b.disabled = false;
  if (done && form.dataset.leave) location.assign(form.dataset.leave);
  if (done) form.closest("dialog")?.close();
}

// What costs something asks once more, by the button itself.
document.addEventListener(
  "click",
  (event) => {
    const button = (event.target as Element).closest<HTMLButtonElement>("button[data-confirm]");
    if (!button) return;
    event.preventDefault();
    const words = button.textContent;
    button.textContent = button.dataset.confirm!;
    const confirm = button.dataset.confirm!;
    delete button.dataset.confirm;
    setTimeout(() => {
      if (!button.isConnected) return;
      button.textContent = words;
      button.dataset.confirm = confirm;
    }, 6000);
  },
  true,
);

/** Buttons that open and close dialogs, for browsers that do not know them from their attributes. */
function commands(): void {
  if ("command" in HTMLButtonElement.prototype) return;
  for (const button of document.querySelectorAll<HTMLButtonElement>("button[commandfor]")) {
    const dialog = document.getElementById(button.getAttribute("commandfor") ?? "");
    if (!(dialog instanceof HTMLDialogElement)) continue;
    button.addEventListener("click", () => (button.getAttribute("command") === "close" ? dialog.close() : dialog.showModal()));
  }
}

// Clocks

const warnBelow = 5 * 60; // seconds

function tick(): void {
  timeLeft();
  for (const e of document.querySelectorAll<HTMLElement>("[data-since]")) {
    e.textContent = `${Math.max(0, (now() - Number(e.dataset.since)) / 1000).toFixed(0)} s`;
  }
  for (const e of document.querySelectorAll<HTMLElement>("[data-hold-until]")) {
    const left = Math.ceil((Number(e.dataset.holdUntil) - now()) / 1000);
    e.textContent = left > 0 ? `for ${left} s more` : "a moment longer";
  }
}

function timeLeft(): void {
  const box = document.getElementById("session-time")!;
  const shown = box.querySelector("[data-time-left]");
  if (!shown) return;
  const left = Math.max(0, Math.floor((Number(box.dataset.expires) - now()) / 1000));
  const two = (n: number) => String(n).padStart(2, "0");
  const hours = Math.floor(left / 3600);
  const minutes = Math.floor(left / 60) % 60;
  shown.textContent = hours > 0 ? `${hours}:${two(minutes)}:${two(left % 60)}` : `${minutes}:${two(left % 60)}`;
  box.classList.toggle("soon", left < warnBelow);
}

commands();
runnable();
phaseChanged();
tick();
setInterval(tick, 1000);
