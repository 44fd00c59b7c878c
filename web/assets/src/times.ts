// Times as people say them: how long ago, for how long, in how long.

/** Writes the page's times, and keeps them true. */
export function keepTimes(): void {
  writeTimes();
  setInterval(writeTimes, 10_000);
}

/** Writes times that have just come onto the page. */
export function writeTimes(): void {
  for (const time of document.querySelectorAll<HTMLTimeElement>("time[data-ago], time[data-span], time[data-in]")) {
    const text = words(time, (Date.now() - Date.parse(time.dateTime)) / 1000);
    if (time.textContent !== text) time.textContent = text;
  }
}

function words(time: HTMLTimeElement, passed: number): string {
  if (time.hasAttribute("data-in")) return passed >= 0 ? "now" : `in ${span(-passed)}`;
  if (time.hasAttribute("data-span")) return `for ${span(passed)}`;
  return passed < 60 ? "just now" : `${span(passed)} ago`;
}

function span(seconds: number): string {
  const minutes = Math.floor(Math.max(0, seconds) / 60);
  const hours = Math.floor(minutes / 60);
  if (minutes < 1) return "under a minute";
  if (minutes < 60) return `${minutes} min`;
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} days`;
}
