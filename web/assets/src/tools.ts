// What the pages with terminals share.

let toastTimer: number | undefined;

/** Tells something in passing; also to a screen reader. */
function say(text: string): void {
  const toast = document.getElementById("toast")!;
  toast.textContent = text;
  toast.hidden = false;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => (toast.hidden = true), 6000 + 40 * text.length);
}

/** Sends a form's content; true when it was carried out, else the user was told why not. */
async function post(path: string, body?: URLSearchParams): Promise<boolean> {
  try {
    const answer = await fetch(path, { method: "POST", body, headers: { Accept: "text/plain" } });
    if (answer.ok) return true;
    say((await answer.text()).trim());
  } catch {
    say("The server does not answer. Try again in a moment.");
  }
  return false;
}

/** The page's way to tell and to ask. */
export function pageTools() {
  return { say, post };
}
