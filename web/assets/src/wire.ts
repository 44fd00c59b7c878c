// The messages of a terminal's WebSocket; terminal.go has the other side.

export const enum Frame {
  Output = 0,
  State = 1,
  Size = 2,
  Notice = 3,
  Input = 16,
  Resize = 17,
  Ack = 18,
}

/** Reasons of the server for closing the connection. */
export const enum Closed {
  NotNow = 4001,
  Over = 4002,
  TooMany = 4003,
}

export type ShellState = "connecting" | "live" | "trouble" | "exited" | "closed";

export type Message =
  | { kind: Frame.Output; offset: number; data: Uint8Array }
  | { kind: Frame.State; offset: number; state: ShellState; text: string }
  | { kind: Frame.Size; cols: number; rows: number }
  | { kind: Frame.Notice; code: string; text: string };

const decoder = new TextDecoder();
const encoder = new TextEncoder();

export function decode(buffer: ArrayBuffer): Message | undefined {
  const view = new DataView(buffer);
  switch (view.getUint8(0)) {
    case Frame.Output:
      return { kind: Frame.Output, offset: Number(view.getBigUint64(1)), data: new Uint8Array(buffer, 9) };
    case Frame.State:
      return { kind: Frame.State, offset: Number(view.getBigUint64(1)), ...words(buffer, 9) } as Message;
    case Frame.Size:
      return { kind: Frame.Size, cols: view.getUint16(1), rows: view.getUint16(3) };
    case Frame.Notice:
      return { kind: Frame.Notice, ...words(buffer, 1) } as Message;
    default:
      return undefined; // of a newer server
  }
}

function words(buffer: ArrayBuffer, from: number): object {
  return JSON.parse(decoder.decode(new Uint8Array(buffer, from))) as object;
}

export function inputFrame(text: string): Uint8Array<ArrayBuffer> {
  return prefixed(Frame.Input, encoder.encode(text));
}

/** What xterm.js calls binary: a string whose characters are bytes. */
export function binaryFrame(bytes: string): Uint8Array<ArrayBuffer> {
  return prefixed(Frame.Input, Uint8Array.from(bytes, (c) => c.charCodeAt(0)));
}

function prefixed(kind: Frame, payload: Uint8Array): Uint8Array<ArrayBuffer> {
  const frame = new Uint8Array(1 + payload.length);
  frame[0] = kind;
  frame.set(payload, 1);
  return frame;
}

export function resizeFrame(cols: number, rows: number): Uint8Array<ArrayBuffer> {
  const view = new DataView(new ArrayBuffer(5));
  view.setUint8(0, Frame.Resize);
  view.setUint16(1, cols);
  view.setUint16(3, rows);
  return new Uint8Array(view.buffer);
}

export function ackFrame(offset: number): Uint8Array<ArrayBuffer> {
  const view = new DataView(new ArrayBuffer(9));
  view.setUint8(0, Frame.Ack);
  view.setBigUint64(1, BigInt(offset));
  return new Uint8Array(view.buffer);
}
