import { Terminal } from "@xterm/xterm";
export { Terminal };
