// The page of an article that somebody is writing: it loads itself again when the
// articles change, and keeps the place that was looked at.

const key = "preview-place:" + location.pathname;

interface Place {
  id: string; // of the last heading above what is read: the upper third
  offset: number; // of its top from the window's
  y: number; // where there is none
}

function headings(): HTMLElement[] {
  return [...document.querySelectorAll<HTMLElement>("main :is(h1, h2, h3, h4)[id]")];
}

/** The place in words of the text, not in pixels of the page: what is written above it moves it. */
function remember(): void {
  const above = headings().filter((h) => h.getBoundingClientRect().top <= innerHeight / 3).at(-1);
  const place: Place = { id: above?.id ?? "", offset: above?.getBoundingClientRect().top ?? 0, y: scrollY };
  sessionStorage.setItem(key, JSON.stringify(place));
}

function restore(): void {
  const kept = sessionStorage.getItem(key);
  sessionStorage.removeItem(key);
  if (!kept) return;
  const place = JSON.parse(kept) as Place;
  const heading = place.id ? document.getElementById(place.id) : null;
  scrollTo({ top: heading ? scrollY + heading.getBoundingClientRect().top - place.offset : place.y, behavior: "instant" });
}

history.scrollRestoration = "manual"; // a browser's own comes later than ours, and goes by pixels
restore();
const shown = document.querySelector<HTMLMetaElement>('meta[name="drydock-preview"]')?.content;
new EventSource("/preview/events").addEventListener("message", (e: MessageEvent<string>) => {
  if (e.data === shown) return;
  remember();
  location.reload();
});
