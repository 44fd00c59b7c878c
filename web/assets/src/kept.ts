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

bench.open();
bench.focus();
