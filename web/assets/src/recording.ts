// A recording (asciicast v3) with its pauses cut short, and the way between
// the time that it was and the time that the player shows. Where the player
// itself cuts pauses, nobody else knows when it shows what.

export interface Recording {
  readonly text: string; // as the player reads it
  readonly begins: number; // when it was recorded, in milliseconds since 1970
  readonly ends: number;
  readonly length: number; // of what the player shows, in seconds
  // position is where in the player, in seconds, a moment is; what lies outside is its begin or end.
  position(moment: number): number;
  // moment is when it was that the player shows at a position.
  moment(position: number): number;
}

interface Point {
  real: number; // milliseconds after begins
  shown: number;
}

// shorten cuts all pauses to limit seconds. It fails for what is no recording.
export function shorten(source: string, limit: number): Recording {
  const lines = source.split("\n");
  const header: unknown = JSON.parse(lines[0] ?? "");
  if (typeof header !== "object" || header === null || !("timestamp" in header) || typeof header.timestamp !== "number") {
    throw new Error("the recording does not say when it was made");
  }
  const begins = header.timestamp * 1000;
  const points: Point[] = [{ real: 0, shown: 0 }];
  const out = [lines[0]];
  let real = 0;
  let shown = 0;
  for (const line of lines.slice(1)) {
    if (!line.startsWith("[")) continue;
    const comma = line.indexOf(",");
    const pause = Number(line.slice(1, comma)) * 1000;
    if (!(pause >= 0)) continue;
    const kept = Math.min(pause, limit * 1000);
    real += pause;
    shown += kept;
    points.push({ real, shown });
    out.push(`[${(kept / 1000).toFixed(3)}${line.slice(comma)}`);
  }
  return {
    text: out.join("\n") + "\n",
    begins,
    ends: begins + real,
    length: shown / 1000,
    position: (moment) => along(points, moment - begins, "real", "shown") / 1000,
    moment: (position) => begins + along(points, position * 1000, "shown", "real"),
  };
}

// along finds what belongs to a value between the points on both sides of it.
function along(points: Point[], value: number, from: keyof Point, to: keyof Point): number {
  let low = 0;
  let high = points.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (points[middle]![from] <= value) low = middle;
    else high = middle - 1;
  }
  const before = points[low]!;
  const after = points[low + 1];
  if (value <= before[from] || !after) return before[to];
  const part = (value - before[from]) / (after[from] - before[from]);
  return before[to] + part * (after[to] - before[to]);
}
