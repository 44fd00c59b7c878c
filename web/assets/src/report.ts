// The recordings in an attempt's report.

import { create } from "asciinema-player";

// A pause says nothing to who watches; a second and a half shows that there was one.
const idleTimeLimit = 1.5;

function play(place: HTMLElement): void {
  const url = place.dataset.cast;
  if (!url || place.dataset.playing) return;
  place.dataset.playing = "yes";
  create(url, place, {
    fit: "width",
    idleTimeLimit,
    preload: true,
    theme: "drydock",
    terminalFontFamily: getComputedStyle(document.documentElement).getPropertyValue("--mono"),
  });
}

for (const place of document.querySelectorAll<HTMLElement>("[data-cast]")) {
  if (place.dataset.first === "true") {
    play(place);
    continue;
  }
  const button = document.createElement("button");
  button.type = "button";
  button.className = "button secondary";
  button.textContent = "Show the recording";
  button.addEventListener("click", () => {
    button.remove();
    play(place);
  });
  place.append(button);
}
