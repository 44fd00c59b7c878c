// The page of a sandbox that was kept as its learner left it.

import { pageTools } from "./tools.ts";
import { Workbench } from "./workbench.ts";

const root = document.getElementById("kept-sandbox")!;
const { say, post } = pageTools();

const bench = new Workbench(document.getElementById("terminal-pane")!, {
  base: root.dataset.base!,
  controls: true,
  maxPaste: Number(root.dataset.maxPaste),
  run: () => "kept",
  say,
  key: () => false,
  post,
});

document.addEventListener("keydown", (event) => {
  if (!event.defaultPrevented && !bench.has(event.target as Element)) bench.key(event);
});

// Without a terminal there is nothing on the page that says why.
const tabs = document.querySelector("[data-tabs]")!;
new MutationObserver(() => {
  document.getElementById("kept-still")!.hidden = tabs.childElementCount > 0;
}).observe(tabs, { childList: true });

bench.open();
bench.focus();
