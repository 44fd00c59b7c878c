// The recordings in an attempt's report, and the list of what happened: an
// entry leads to its moment in the recording, and the recording shows in the
// list where it is.

import { create } from "asciinema-player";
import { shorten, type Recording } from "./recording.ts";

// A pause says nothing to who watches; a second and a half shows that there was one.
const longestPause = 1.5;
// How often the list follows the player: smooth enough for entries a second apart.
const followEvery = 250;

type Player = ReturnType<typeof create>;

interface Playing {
  place: HTMLElement;
  recording: Recording;
  player: Player;
}

const places = [...document.querySelectorAll<HTMLElement>("[data-cast]")];
const entries = [...document.querySelectorAll<HTMLElement>("#timeline > .moment")];
let playing: Playing | undefined;
let position = -1; // of the player when it was last looked at, in seconds
let asked = 0; // counts what was asked to play: only the latest does

async function show(place: HTMLElement): Promise<Playing | undefined> {
  if (playing?.place === place) return playing;
  const mine = ++asked;
  const url = place.dataset.cast ?? "";
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`${url}: ${answer.status}`);
  const recording = shorten(await answer.text(), longestPause);
  if (mine !== asked) return undefined;
  hide();
  place.replaceChildren();
  place.dataset.playing = "yes";
  const player = create({ data: recording.text }, place, {
    fit: "width",
    controls: true,
    preload: true,
    theme: "drydock",
    terminalFontFamily: getComputedStyle(document.documentElement).getPropertyValue("--mono"),
  });
  playing = { place, recording, player };
  return playing;
}

// hide puts the button back in the place of what plays.
function hide(): void {
  if (!playing) return;
  const { place, player } = playing;
  playing = undefined;
  player.dispose();
  delete place.dataset.playing;
  offer(place);
}

// offer shows a button for a recording that does not play.
function offer(place: HTMLElement): void {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "button secondary";
  button.textContent = "Show the recording";
  button.addEventListener("click", () => void attempt(show(place), place));
  place.replaceChildren(button);
}

// attempt says so where a recording can't be had.
async function attempt<T>(work: Promise<T>, place: HTMLElement): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    console.warn(error);
    const text = document.createElement("p");
    text.className = "hint";
    text.role = "status";
    text.textContent = "The recording could not be loaded. Load the page anew, or download it.";
    place.replaceChildren(text);
    return undefined;
  }
}

// placeOf is the recording that shows an entry: that of its own terminal, or the one that plays, or the first of its sandbox.
function placeOf(entry: HTMLElement): HTMLElement | undefined {
  const run = places.filter((p) => p.dataset.run === entry.dataset.run);
  const tab = entry.dataset.tab;
  if (tab) return run.find((p) => p.dataset.tab === tab);
  return run.find((p) => p === playing?.place) ?? run[0];
}

async function seek(entry: HTMLElement): Promise<void> {
  const place = placeOf(entry);
  if (!place) return;
  const shown = await attempt(show(place), place);
  if (!shown) return;
  await shown.player.play(); // one that has never played shows its cover, wherever it is
  await shown.player.pause();
  await shown.player.seek(shown.recording.position(Number(entry.dataset.at)));
  position = (await shown.player.getCurrentTime()) ?? position;
  mark(entry);
}

// mark says which entry the recording is at.
function mark(current: HTMLElement | undefined): void {
  for (const entry of entries) {
    if (entry === current) entry.setAttribute("aria-current", "step");
    else entry.removeAttribute("aria-current");
  }
}

async function follow(): Promise<void> {
  if (!playing) return;
  const { recording, player, place } = playing;
  const now = await player.getCurrentTime();
  if (playing?.player !== player || typeof now !== "number" || Math.abs(now - position) < 0.05) return;
  position = now;
  // What the player shows at a moment includes that moment; its end, all that happened after the last output.
  const moment = now < recording.length - 0.01 ? recording.moment(now) + 1 : Infinity;
  const before = entries.filter((e) => e.dataset.run === place.dataset.run && Number(e.dataset.at) <= moment && e.offsetParent !== null);
  mark(before[before.length - 1]);
}

for (const entry of entries) {
  const time = entry.querySelector("time");
  if (!time || !placeOf(entry)) continue;
  const button = document.createElement("button");
  button.type = "button";
  button.title = "Show this moment in the recording";
  time.replaceWith(button);
  button.append(time);
  button.addEventListener("click", () => void seek(entry));
}
for (const place of places) offer(place);
const first = places.find((p) => p.dataset.first === "true");
if (first) void attempt(show(first), first);
setInterval(() => void follow(), followEvery);
