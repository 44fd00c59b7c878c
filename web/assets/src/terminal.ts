// One terminal: xterm.js, and its connection to the shell, which outlives it.

import { FitAddon } from "@xterm/addon-fit";
import { SearchAddon } from "@xterm/addon-search";
import { Unicode11Addon } from "@xterm/addon-unicode11";
import { WebLinksAddon } from "@xterm/addon-web-links";
import { WebglAddon } from "@xterm/addon-webgl";
import { Terminal } from "@xterm/xterm";
import { terminalTheme } from "./theme.ts";
import { ackFrame, binaryFrame, Closed, decode, Frame, inputFrame, resizeFrame, type ShellState } from "./wire.ts";

/** What a terminal asks of the page that it is on. */
export interface Host {
  /** The address that the terminal's begins with. */
  base: string;
  controls: boolean;
  maxPaste: number;
  /** The number of resets: each begins terminals anew. */
  run(): string;
  fontSize(): number;
  screenReader(): boolean;
  /** Tells the learner something in passing. */
  say(text: string): void;
  /** The tab is no more. */
  gone(tab: ShellTab, why?: string): void;
  /** A key for the page and not for the shell; returns true when it took it. */
  key(event: KeyboardEvent): boolean;
}

// Waits between attempts to connect: short at first, since most losses are a
// moment; a learner who watches five seconds pass can press the button.
const firstRetry = 250;
const lastRetry = 5000;

// What a program that was killed may have left on: an alternate screen, mouse
// reports, bracketed paste.
const calmDown = "\x1b[!p\x1b[?1049l\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?2004l";

export class ShellTab {
  readonly term: Terminal;
  readonly search = new SearchAddon();
  readonly panel: HTMLElement;
  private readonly fit = new FitAddon();
  private readonly notice: HTMLElement;
  private socket: WebSocket | undefined;
  private seen = 0; // absolute offset of the output received
  private shown = 0; // … and taken in by the screen
  private replayUntil = 0; // output before it is old: its questions have been answered
  private state: ShellState = "connecting";
  private retry = firstRetry;
  private timer: number | undefined;
  private over = false;
  private readonly watchSize: ResizeObserver;

  constructor(
    readonly name: string,
    private readonly host: Host,
    parent: HTMLElement,
  ) {
    this.panel = document.createElement("div");
    this.panel.className = "shell";
    this.panel.id = `terminal-${name}`;
    this.panel.setAttribute("role", "tabpanel");
    this.panel.setAttribute("aria-labelledby", `tab-${name}`);
    const screen = document.createElement("div");
    screen.className = "terminal-screen";
    this.notice = document.createElement("p");
    this.notice.className = "terminal-notice";
    this.notice.setAttribute("role", "status");
    this.notice.hidden = true;
    this.panel.append(screen, this.notice);
    parent.append(this.panel);

    this.term = new Terminal({
      allowProposedApi: true, // unicode11 and the search's highlights need it
      cursorBlink: !matchMedia("(prefers-reduced-motion: reduce)").matches,
      disableStdin: !host.controls,
      fontFamily: getComputedStyle(document.documentElement).getPropertyValue("--mono") || "monospace",
      fontSize: host.fontSize(),
      lineHeight: 1.2, // less cuts off underscores in some fonts
      minimumContrastRatio: 4.5,
      screenReaderMode: host.screenReader(),
      scrollback: 10_000,
      theme: terminalTheme(),
    });
    this.term.loadAddon(this.fit);
    this.term.loadAddon(this.search);
    this.term.loadAddon(new Unicode11Addon());
    this.term.loadAddon(new WebLinksAddon());
    this.term.unicode.activeVersion = "11";
    this.term.open(screen);
    this.drawFast();
    this.term.onData((text) => this.input(inputFrame(text)));
    this.term.onBinary((bytes) => this.input(binaryFrame(bytes)));
    this.term.onResize(({ cols, rows }) => this.send(resizeFrame(cols, rows)));
    this.term.attachCustomKeyEventHandler((event) => !this.key(event));
    this.term.textarea?.addEventListener("focus", () => this.refit());
    screen.addEventListener("paste", (event) => this.paste(event), true);
    this.watchSize = new ResizeObserver(() => this.refit());
    this.watchSize.observe(screen);
  }

  /** Draws with the graphics card, where there is a real one. */
  private drawFast(): void {
    const probe = document.createElement("canvas").getContext("webgl2", { failIfMajorPerformanceCaveat: true });
    if (!probe) return;
    const info = probe.getExtension("WEBGL_debug_renderer_info");
    const renderer = info ? String(probe.getParameter(info.UNMASKED_RENDERER_WEBGL)) : "";
    probe.getExtension("WEBGL_lose_context")?.loseContext();
    if (/swiftshader|llvmpipe|software/i.test(renderer)) return; // slower than the DOM, whatever the browser says
    try {
      const webgl = new WebglAddon();
      webgl.onContextLoss(() => webgl.dispose()); // the DOM renderer takes over
      this.term.loadAddon(webgl);
    } catch {
      // The DOM renderer is there.
    }
  }

  /** Makes the terminal as large as its place; a watcher's has the size of the learner's. */
  refit(): void {
    if (this.host.controls && this.panel.offsetParent !== null) this.fit.fit();
  }

  connect(): void {
    clearTimeout(this.timer);
    if (this.over || this.socket) return;
    this.refit();
    const query = new URLSearchParams({
      tab: this.name,
      from: String(this.seen),
      run: this.host.run(),
      cols: String(this.term.cols),
      rows: String(this.term.rows),
    });
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(`${scheme}//${location.host}${this.host.base}/terminal?${query}`);
    socket.binaryType = "arraybuffer";
    const fresh = this.seen === 0;
    let greeted = false;
    socket.onmessage = (event: MessageEvent<ArrayBuffer>) => {
      const message = decode(event.data);
      if (!message) return;
      if (message.kind === Frame.State && !greeted) {
        greeted = true;
        if (fresh) this.replayUntil = message.offset;
        this.send(resizeFrame(this.term.cols, this.term.rows)); // it may have changed meanwhile
      }
      this.take(message);
    };
    socket.onclose = (event) => {
      if (this.socket !== socket) return;
      this.socket = undefined;
      this.lost(event.code, event.reason);
    };
    this.socket = socket;
  }

  private take(message: NonNullable<ReturnType<typeof decode>>): void {
    this.retry = firstRetry;
    switch (message.kind) {
      case Frame.Output:
        if (message.offset !== this.seen) {
          this.term.reset(); // the screen starts anew
          this.replayUntil = Math.max(this.replayUntil, message.offset);
        }
        this.seen = message.offset + message.data.length;
        this.write(message.data, this.seen);
        break;
      case Frame.State:
        this.become(message.state, message.text);
        break;
      case Frame.Size:
        if (message.cols !== this.term.cols || message.rows !== this.term.rows) this.term.resize(message.cols, message.rows);
        break;
      case Frame.Notice:
        this.host.say(message.text);
        break;
    }
  }

  private write(data: Uint8Array, end: number): void {
    const socket = this.socket;
    this.term.write(data, () => {
      this.shown = end;
      if (socket === this.socket) this.send(ackFrame(end));
    });
  }

  private become(state: ShellState, text: string): void {
    if (this.state === "exited" && state === "live") this.term.write(calmDown);
    this.state = state;
    switch (state) {
      case "live":
        this.tell("");
        break;
      case "connecting":
        this.tell("Connecting to the shell …");
        break;
      case "trouble":
        this.tell(`${text} Trying again …`);
        break;
      case "exited":
        this.tell(this.host.controls ? `${text} Press a key in the terminal to start a new one.` : text);
        break;
      case "closed":
        break; // the connection's end says why
    }
  }

  private tell(text: string, action?: [label: string, does: () => void]): void {
    this.notice.hidden = text === "";
    this.notice.replaceChildren(text);
    if (!action) return;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "button secondary small";
    button.textContent = action[0];
    button.addEventListener("click", action[1]);
    this.notice.append(" ", button);
  }

  private lost(code: number, reason: string): void {
    if (this.over) return;
    if (code === Closed.Over || code === Closed.TooMany) {
      this.host.gone(this, code === Closed.TooMany ? reason : undefined);
      return;
    }
    if (code === 1009) this.host.say("What was sent to the terminal was too long.");
    const wait = this.retry * (0.8 + 0.4 * Math.random()); // not all browsers at the same moment
    this.retry = Math.min(this.retry * 2, lastRetry);
    this.timer = setTimeout(() => this.connect(), wait);
    // A loss that is over in a moment needs no words.
    if (wait > 2 * firstRetry && code !== Closed.NotNow) this.tell("The connection is lost. The shell goes on. Trying again …", ["Try now", () => this.connect()]);
  }

  /** Tries to connect at once, as when the network is back. */
  hurry(): void {
    this.retry = firstRetry;
    this.connect();
  }

  private input(frame: Uint8Array<ArrayBuffer>): void {
    if (this.shown < this.replayUntil) return; // an old question's answer
    if (!this.connected()) {
      this.host.say("The terminal is not connected now. What you typed was not passed on.");
      return;
    }
    this.send(frame);
  }

  connected(): boolean {
    return this.socket?.readyState === WebSocket.OPEN;
  }

  private send(frame: Uint8Array<ArrayBuffer>): void {
    if (this.connected()) this.socket!.send(frame);
  }

  /** Types text, as if the learner did; false when there is no shell to take it. */
  type(text: string): boolean {
    if (!this.connected() || this.state !== "live") return false;
    this.send(inputFrame(text));
    return true;
  }

  private paste(event: ClipboardEvent): void {
    const text = event.clipboardData?.getData("text/plain") ?? "";
    const size = new TextEncoder().encode(text).length;
    if (size <= this.host.maxPaste) return; // xterm.js does the rest
    event.preventDefault();
    event.stopPropagation();
    const kib = (n: number) => `${Math.ceil(n / 1024)} KiB`;
    this.host.say(`That is too long to be pasted: ${kib(size)}, where ${kib(this.host.maxPaste)} are taken. Put it into a file in pieces, or paste less.`);
  }

  /** Keys that the shell does not get; true for those. */
  private key(event: KeyboardEvent): boolean {
    const chord = event.ctrlKey && event.shiftKey && !event.altKey && !event.metaKey;
    if (chord && event.code === "KeyC") {
      event.preventDefault(); // Chromium would open its inspector
      if (event.type === "keydown") void this.copy();
      return true;
    }
    if ((chord && event.code === "KeyV") || (event.shiftKey && event.code === "Insert")) return true; // the browser pastes
    if (event.shiftKey && event.code === "F6") {
      if (event.type === "keydown") this.send(inputFrame("\x1b[17~"));
      event.preventDefault();
      return true;
    }
    if (event.type !== "keydown") return false;
    return this.host.key(event);
  }

  private async copy(): Promise<void> {
    const text = this.term.getSelection();
    if (!text) {
      this.host.say("Nothing is selected in the terminal.");
      return;
    }
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      this.host.say("The browser does not let this page copy. Use the context menu.");
    }
  }

  /** Begins anew with the shells of a fresh sandbox. */
  restart(): void {
    const old = this.socket;
    this.socket = undefined;
    old?.close();
    this.seen = this.shown = this.replayUntil = 0;
    this.term.reset();
    this.state = "connecting";
    this.hurry();
  }

  dispose(): void {
    this.over = true;
    clearTimeout(this.timer);
    this.socket?.close();
    this.watchSize.disconnect();
    this.term.dispose();
    this.panel.remove();
  }
}
