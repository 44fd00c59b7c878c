import type { ITheme } from "@xterm/xterm";

const names = ["black", "red", "green", "yellow", "blue", "magenta", "cyan", "white"] as const;

/** The terminal's colours, as session.css has them for the page's present theme. */
export function terminalTheme(): ITheme {
  const probe = document.createElement("span");
  probe.hidden = true;
  document.body.append(probe);
  const color = (name: string): string => {
    probe.style.color = `var(--term-${name})`;
    return getComputedStyle(probe).color;
  };
  const theme: Record<string, string> = {
    background: color("background"),
    foreground: color("foreground"),
    cursor: color("cursor"),
    cursorAccent: color("background"),
    selectionBackground: color("selection"),
  };
  for (const name of names) {
    theme[name] = color(name);
    theme[`bright${name[0]!.toUpperCase()}${name.slice(1)}`] = color(`bright-${name}`);
  }
  probe.remove();
  return theme;
}

/** Calls back whenever the page's colours change. */
export function onThemeChange(changed: () => void): void {
  document.addEventListener("themechange", changed);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", changed);
}
