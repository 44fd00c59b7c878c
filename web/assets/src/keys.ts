// What all single keys of the pages have in common.

const offKey = "shortcuts"; // "off" in the browser's storage

/** Whether single keys do something here: who uses speech or slips on keys may have switched them off. */
export function singleKeys(): boolean {
  try {
    return localStorage.getItem(offKey) !== "off";
  } catch {
    return true; // this browser keeps nothing
  }
}

/** Switches single keys on or off, for all pages. */
export function switchSingleKeys(on: boolean): void {
  try {
    if (on) localStorage.removeItem(offKey);
    else localStorage.setItem(offKey, "off");
  } catch {
    return; // for this page the switch says it
  }
}
