// What a reader did: how far an article was read, and what was answered to its
// quizzes. It is noted in this browser first. For who is signed in it is then
// sent to the server and forgotten here, also what was noted before they were,
// or while the server could not be reached.

const readingKey = (slug: string) => `reading:${slug}`;
const answerKey = (slug: string, quiz: string) => `answer:${slug}:${quiz}`;

/** The browser's own notes; none where it is told to keep nothing. */
export function notes(): Storage | undefined {
  try {
    return localStorage;
  } catch {
    return undefined;
  }
}

/** What was read of the article, from 0 to 1, and not sent yet. */
export const noted = (slug: string): number => Number(notes()?.getItem(readingKey(slug))) || 0;

/** The answer to a quiz that was not sent yet. */
export const notedAnswer = (slug: string, quiz: string): string | null => notes()?.getItem(answerKey(slug, quiz)) ?? null;

export const noteReading = (slug: string, fraction: number): void => note(readingKey(slug), fraction.toFixed(3));
export const noteAnswer = (slug: string, quiz: string, answer: string): void => note(answerKey(slug, quiz), answer);

function note(key: string, value: string): void {
  try {
    notes()?.setItem(key, value);
  } catch {
    return; // it is full: nothing that a reader has to know
  }
  void sendNotes();
}

let sending = false;

/** Sends all notes, one by one, until the server cannot take them. */
export async function sendNotes(): Promise<void> {
  const kept = notes();
  if (sending || !kept || !document.querySelector("[action='/sign-out']")) return;
  sending = true;
  const tried = new Set<string>();
  for (let key = nextNote(kept, tried); key; key = nextNote(kept, tried)) {
    const value = kept.getItem(key) ?? "";
    tried.add(`${key}=${value}`);
    if (!(await send(key, value))) break;
    if (kept.getItem(key) === value) kept.removeItem(key);
  }
  sending = false;
}

function nextNote(kept: Storage, tried: Set<string>): string | undefined {
  return Object.keys(kept).find((key) => /^(reading|answer):/.test(key) && !tried.has(`${key}=${kept.getItem(key)}`));
}

/** Reports whether the note need not be kept: it was taken, or is about something that is no more. */
async function send(key: string, value: string): Promise<boolean> {
  const [kind, slug, quiz = ""] = key.split(":");
  const [path, fields] = kind === "reading" ? ["reading", { fraction: value }] : ["answers", { quiz, answer: value }];
  try {
    const body = new URLSearchParams(fields as Record<string, string>);
    const { ok, status } = await fetch(`/articles/${slug}/${path}`, { method: "POST", body, keepalive: true });
    return ok || status === 400 || status === 404;
  } catch {
    return false;
  }
}
