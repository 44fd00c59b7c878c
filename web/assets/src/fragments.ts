// The parts of a page that the server keeps up to date: it sends elements, and
// each takes the place of the one with its id.

export interface Listener {
  /** Before an element takes the place of another. */
  changing?(old: HTMLElement, fresh: HTMLElement): void;
  /** After a message's elements are in place. */
  changed(): void;
  connected(on: boolean): void;
  /** The server has nothing more to tell. */
  over(): void;
}

/** Follows a stream of fragments until it is over. Returns how to try again at once. */
export function follow(url: string, seq: string, listener: Listener): () => void {
  let source: EventSource;
  let seen = seq;
  const open = () => {
    source = new EventSource(`${url}?seq=${seen}`);
    source.addEventListener("open", () => listener.connected(true));
    source.addEventListener("error", () => {
      if (source.readyState === EventSource.CLOSED) listener.over();
      else listener.connected(false);
    });
    source.addEventListener("fragments", (event: MessageEvent<string>) => {
      seen = event.lastEventId;
      put(event.data, listener);
    });
  };
  open();
  return () => {
    if (source.readyState === EventSource.OPEN) return;
    source.close();
    open();
  };
}

function put(html: string, listener: Listener): void {
  const template = document.createElement("template");
  template.innerHTML = html; // made by our own server's templates
  for (const fresh of [...template.content.children]) {
    const old = document.getElementById(fresh.id);
    if (!old || !(fresh instanceof HTMLElement) || old.isEqualNode(fresh)) continue;
    listener.changing?.(old, fresh);
    const focused = old.contains(document.activeElement) ? document.activeElement : null;
    old.replaceWith(fresh);
    if (focused) refocus(fresh, focused);
  }
  listener.changed();
}

/** Leaves the focus where it was: on the element's successor, or on what contains it. */
function refocus(fresh: HTMLElement, was: Element): void {
  const same = was.id ? document.getElementById(was.id) : null;
  const successor = same ?? fresh.querySelector<HTMLElement>("button, input:not([type=hidden]), a[href]");
  if (successor) {
    successor.focus({ preventScroll: true });
    return;
  }
  fresh.tabIndex = -1;
  fresh.focus({ preventScroll: true });
}
