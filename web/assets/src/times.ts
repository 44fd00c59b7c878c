// Times as the reader says them. The server writes every <time> in its own
// zone; here it is told in the reader's, or as how long ago, for how long, in
// how long.

/** Writes the page's times, and keeps them true. */
export function keepTimes(): void {
  writeTimes();
  setInterval(writeTimes, 10_000);
}

/** Writes times that have just come onto the page. */
export function writeTimes(): void {
  for (const time of document.querySelectorAll<HTMLTimeElement>("time[data-form]")) {
    const at = new Date(time.dateTime);
    const own = sameZone(time, at) ? "" : inOwnZone(at, time.dataset.form ?? "");
    const text = relative(time, (Date.now() - at.getTime()) / 1000);
    if (text || time.hasAttribute("data-said")) {
      if (text && time.textContent !== text) time.textContent = text;
      if (own) time.title = own;
    } else if (own && time.textContent !== own) {
      time.title = time.textContent ?? ""; // how the server says it
      time.textContent = own;
    }
  }
}

/** Whether the server's zone and the reader's are the same at that time, as far as the clock goes. */
function sameZone(time: HTMLTimeElement, at: Date): boolean {
  const [, sign, hours, minutes] = /([+-])(\d\d):(\d\d)$/.exec(time.dateTime) ?? [];
  const east = (Number(hours ?? 0) * 60 + Number(minutes ?? 0)) * (sign === "-" ? -1 : 1);
  return east === -at.getTimezoneOffset();
}

/** As the server's timeWords, in the reader's zone. */
function inOwnZone(at: Date, form: string): string {
  const month = form === "full" ? "long" : "short";
  const parts = (locale: string) =>
    new Intl.DateTimeFormat(locale, {
      ...{ weekday: "short", day: "numeric", month, year: "numeric" },
      ...{ hour: "2-digit", minute: "2-digit", second: "2-digit", timeZoneName: "short" },
    }).formatToParts(at);
  const find = (all: Intl.DateTimeFormatPart[], type: string) => all.find((p) => p.type === type)?.value ?? "";
  const british = parts("en-GB");
  const part = (type: string) => find(british, type);
  // British English has names for Europe's zones, American for America's.
  const zone = [part("timeZoneName"), find(parts("en-US"), "timeZoneName")].find((name) => !/^GMT[+-]/.test(name)) ?? part("timeZoneName");
  const seconds = form === "clock" || form === "exact" ? `:${part("second")}` : "";
  const clock = `${part("hour")}:${part("minute")}${seconds} ${zone}`;
  if (form === "clock") return clock;
  const year = form === "full" || at.getFullYear() !== new Date().getFullYear() ? ` ${part("year")}` : "";
  return `${part("weekday")} ${part("day")} ${part("month")}${year}, ${clock}`;
}

function relative(time: HTMLTimeElement, passed: number): string {
  if (time.hasAttribute("data-in")) return passed >= 0 ? "now" : `in ${span(-passed)}`;
  if (time.hasAttribute("data-span")) return `for ${span(passed)}`;
  if (!time.hasAttribute("data-ago")) return "";
  return passed < 60 ? "just now" : `${span(passed)} ago`;
}

function span(seconds: number): string {
  const minutes = Math.floor(Math.max(0, seconds) / 60);
  const hours = Math.floor(minutes / 60);
  if (minutes < 1) return "under a minute";
  if (minutes < 60) return `${minutes} min`;
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} days`;
}

/** Has the dates of forms mean the reader's zone, and says so: what is sent is the moment. */
export function ownDates(): void {
  for (const form of document.querySelectorAll<HTMLFormElement>("form[data-own-dates]")) {
    const inputs = [...form.querySelectorAll<HTMLInputElement>("input[type=datetime-local]")];
    for (const words of form.querySelectorAll<HTMLElement>("[data-own]")) words.textContent = words.dataset.own ?? "";
    for (const input of inputs) {
      if (!input.dataset.at) continue;
      const at = new Date(input.dataset.at);
      at.setMinutes(at.getMinutes() - at.getTimezoneOffset());
      input.value = at.toISOString().slice(0, "2026-11-30T09:00".length);
    }
    form.addEventListener("formdata", (event) => {
      for (const { name, value } of inputs) if (value) event.formData.set(name, new Date(value).toISOString());
    });
  }
}
