// Terms of the glossary. Style sheets show a definition to who points at the
// term or comes to it by keyboard; this is for Escape and for fingers.

/** Lets Escape close a definition, and a first touch open it. */
export function explainTerms(): void {
  const terms = [...document.querySelectorAll<HTMLElement>(".term")];
  if (terms.length === 0) return;
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    for (const term of terms) {
      if (term.matches(":hover, :focus-within")) term.classList.add("term-closed");
    }
  });
  for (const term of terms) {
    const again = () => term.classList.remove("term-closed");
    term.addEventListener("pointerleave", again);
    term.addEventListener("focusout", again);
    touch(term);
  }
}

/** A touch that has just brought the definition shows it; the next one follows the link. */
function touch(term: HTMLElement): void {
  const link = term.querySelector("a")!;
  let wasOpen = false;
  link.addEventListener("pointerdown", () => (wasOpen = term.matches(":focus-within")));
  link.addEventListener("click", (event) => {
    if ((event as PointerEvent).pointerType !== "touch" || wasOpen) return;
    event.preventDefault();
    link.focus();
  });
}
