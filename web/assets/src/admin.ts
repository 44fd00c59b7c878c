// The operator's page: the server sends its parts anew when they have changed.

import { follow } from "./fragments.ts";
import { writeTimes } from "./times.ts";

const page = document.querySelector<HTMLElement>("[data-fleet]");
if (page) {
  const status = document.querySelector<HTMLElement>("[data-live]");
  const say = (on: boolean, text: string) => {
    if (!status || status.textContent === text) return;
    status.toggleAttribute("data-on", on);
    status.toggleAttribute("data-off", !on);
    status.textContent = text;
  };
  follow(page.dataset.fleet ?? "", "", {
    // A log that is being read stays open.
    changing(old, fresh) {
      for (const open of old.querySelectorAll<HTMLDetailsElement>("details[open]")) {
        const successor = open.id ? fresh.querySelector<HTMLDetailsElement>(`#${CSS.escape(open.id)}`) : null;
        if (successor) successor.open = true;
      }
    },
    changed: writeTimes,
    connected(on) {
      if (on) say(true, "Live: changes appear by themselves.");
      else say(false, "The connection is lost. Trying again …");
    },
    over: () => say(false, "The connection is lost. Reload the page."),
  });
}
