// What this browser remembers of what was read, for who is not signed in.

import { noted } from "./progress.ts";

/** As the server's store has it: what follows the last paragraph need not be scrolled through. */
const doneFraction = 0.9;

const isRead = (slug: string) => noted(slug) >= doneFraction;

/** Says of what is to be read before, and of the articles of a track, how much was read. */
export function showProgress(): void {
  for (const mark of document.querySelectorAll<HTMLElement>("[data-read]")) {
    const done = mark.dataset.read!.split(" ").filter(Boolean).every(isRead);
    mark.textContent = done ? "Read" : "Not yet";
    mark.classList.toggle("badge-pass", done);
    mark.classList.toggle("badge-plain", !done);
    mark.hidden = false;
  }
  for (const line of document.querySelectorAll<HTMLElement>("[data-track-progress]")) {
    const articles = line.dataset.trackProgress!.split(" ").map((entry) => entry.split("=") as [string, string]);
    const left = articles.reduce((sum, [slug, minutes]) => sum + (isRead(slug) ? 0 : Number(minutes) * (1 - noted(slug))), 0);
    const read = articles.filter(([slug]) => isRead(slug)).length;
    if (articles.every(([slug]) => noted(slug) === 0)) continue;
    line.textContent = read === articles.length ? "All read" : `${read} of ${articles.length} read, ${duration(Math.round(left))} left`;
    line.hidden = false;
  }
}

/** As the server's minutesLeft. */
function duration(minutes: number): string {
  if (minutes < 1) return "under a minute";
  if (minutes < 60) return `${minutes} min`;
  return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, "0")} min`;
}
