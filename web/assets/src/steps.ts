// Pictures to step through: what belongs to the step is lit, the rest of the
// steps dimmed, and one item of the list stands below the picture.

const stepClass = /^s([1-9]\d*)$/;

/** The steps that an element of a drawing belongs to. */
function stepsOf(element: Element): number[] {
  return [...element.classList].map((name) => Number(stepClass.exec(name)?.[1] ?? 0)).filter((step) => step > 0);
}

class Stepper {
  private now = 1;
  private readonly items: HTMLElement[];
  private readonly parts: Element[];
  private readonly figure: HTMLElement;
  private readonly tools = document.createElement("div");
  private readonly position = document.createElement("span");
  private readonly told = document.createElement("p");
  private readonly previous = button("Previous", () => this.go(this.now - 1));
  private readonly next = button("Next", () => this.go(this.now + 1));
  private readonly all = button("All steps", () => this.showAll(!this.whole));
  private whole = false;

  constructor(private readonly section: HTMLElement) {
    this.figure = section.querySelector<HTMLElement>("figure")!;
    this.items = [...section.querySelectorAll<HTMLElement>(":scope > ol > li")];
    this.parts = [...this.figure.querySelectorAll("svg [class]")].filter((part) => stepsOf(part).length > 0);
    this.tools.className = "steps-tools";
    this.tools.setAttribute("role", "group");
    this.tools.setAttribute("aria-label", "Steps");
    this.told.className = "visually-hidden";
    this.told.setAttribute("role", "status");
    this.position.className = "steps-position";
    this.all.classList.add("steps-all");
    this.tools.append(this.previous, this.position, this.next, this.all);
    this.figure.after(this.tools, this.told);
    this.tools.addEventListener("keydown", (event) => this.key(event));
    this.show();
  }

  private key(event: KeyboardEvent): void {
    if (event.ctrlKey || event.altKey || event.metaKey || event.shiftKey) return;
    const to = { ArrowLeft: this.now - 1, ArrowRight: this.now + 1, Home: 1, End: this.items.length }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    this.go(to);
  }

  private go(to: number): void {
    if (this.whole) this.whole = false;
    this.now = Math.min(this.items.length, Math.max(1, to));
    this.show();
    this.told.textContent = `Step ${this.now} of ${this.items.length}: ${this.items[this.now - 1]!.textContent?.trim()}`;
  }

  private showAll(whole: boolean): void {
    this.whole = whole;
    this.show();
    this.told.textContent = whole ? "All steps are shown" : `Step ${this.now} of ${this.items.length}`;
  }

  private show(): void {
    this.section.classList.toggle("stepping", !this.whole);
    this.items.forEach((item, i) => item.classList.toggle("now", i + 1 === this.now));
    for (const part of this.parts) part.classList.toggle("dimmed", !this.whole && !stepsOf(part).includes(this.now));
    this.position.textContent = this.whole ? `1 to ${this.items.length}` : `${this.now} of ${this.items.length}`;
    // Not disabled: the button would lose the focus of who goes on by keyboard.
    this.previous.setAttribute("aria-disabled", String(!this.whole && this.now === 1));
    this.next.setAttribute("aria-disabled", String(!this.whole && this.now === this.items.length));
    this.all.setAttribute("aria-pressed", String(this.whole));
    if (!this.whole) this.bringIntoView();
  }

  /** On a narrow screen the picture scrolls sideways: to what is lit. */
  private bringIntoView(): void {
    if (this.figure.scrollWidth <= this.figure.clientWidth) return;
    const boxes = this.parts.filter((part) => stepsOf(part).includes(this.now)).map((part) => part.getBoundingClientRect());
    const left = Math.min(...boxes.map((box) => box.left));
    const right = Math.max(...boxes.map((box) => box.right));
    const frame = this.figure.getBoundingClientRect();
    if (left >= frame.left && right <= frame.right) return;
    const middle = right - left > frame.width ? left + frame.width / 2 - 8 : (left + right) / 2;
    this.figure.scrollBy({ left: middle - frame.left - frame.width / 2 });
  }
}

function button(text: string, press: () => void): HTMLButtonElement {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = text;
  made.addEventListener("click", press);
  return made;
}

/** Makes the pictures that have steps ones to step through. */
export function stepThrough(): void {
  for (const section of document.querySelectorAll<HTMLElement>("[data-steps]")) new Stepper(section);
}
