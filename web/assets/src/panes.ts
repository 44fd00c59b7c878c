// The two panes of the lab's page: their width, which of them a narrow screen
// shows, and the way between them by keyboard.

const stored = "session:split";
const limits = { least: 20, most: 75, step: 3 };

export class Panes {
  constructor(
    private readonly root: HTMLElement,
    private readonly focusTerminal: () => void,
    private readonly inTerminal: () => boolean,
  ) {
    const splitter = root.querySelector<HTMLElement>(".splitter");
    if (splitter) this.split(splitter);
    root.addEventListener("click", (event) => {
      const button = (event.target as Element).closest<HTMLButtonElement>("button[data-show-pane]");
      if (button) this.show(button.dataset.showPane ?? "");
    });
  }

  private split(splitter: HTMLElement): void {
    const set = (percent: number) => {
      const width = Math.round(Math.min(limits.most, Math.max(limits.least, percent)));
      this.root.style.setProperty("--split", `${width}%`);
      splitter.setAttribute("aria-valuenow", String(width));
      localStorage.setItem(stored, String(width));
    };
    const now = () => Number(splitter.getAttribute("aria-valuenow"));
    const saved = Number(localStorage.getItem(stored));
    if (saved) set(saved);
    splitter.addEventListener("pointerdown", (event) => {
      splitter.setPointerCapture(event.pointerId);
      event.preventDefault();
    });
    splitter.addEventListener("pointermove", (event) => {
      if (!splitter.hasPointerCapture(event.pointerId)) return;
      const box = splitter.parentElement!.getBoundingClientRect();
      set(((event.clientX - box.left) / box.width) * 100);
    });
    splitter.addEventListener("keydown", (event) => {
      const to = { ArrowLeft: now() - limits.step, ArrowRight: now() + limits.step, Home: limits.least, End: limits.most }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      set(to);
    });
    splitter.addEventListener("dblclick", () => set(42));
  }

  /** On a narrow screen: shows one pane. */
  show(pane: string): void {
    this.root.dataset.show = pane;
    for (const button of this.root.querySelectorAll("[data-show-pane][aria-pressed]")) {
      button.setAttribute("aria-pressed", String(button.getAttribute("data-show-pane") === pane));
    }
    if (pane === "workbench") this.focusTerminal();
  }

  /** Goes to the other pane. */
  swap(): void {
    if (this.inTerminal()) {
      this.show("instructions");
      document.getElementById("instructions")?.focus();
    } else {
      this.show("workbench");
    }
  }
}
