// Holds text on its way to a terminal: hands it out in portions, and where much more comes than anybody can read, leaves out the middle and
// says so. What is left out is still in the run's log.
import { sizeOf } from "./words";

/** Most that waits; beyond it the oldest goes. */
export const KEPT = 1_048_576;
/** What stays of the newest when something has to go. */
const TAIL = 262_144;
/** Most that is handed out at once. */
export const PORTION = 131_072;

export class Pace {
  private text = "";
  private left = 0;

  push(text: string): void {
    this.text += text;
    if (this.text.length <= KEPT) return;
    let cut = this.text.length - TAIL;
    const line = this.text.indexOf("\n", cut);
    if (line >= 0) cut = line + 1;
    else if (isLowSurrogate(this.text.charCodeAt(cut))) cut++;
    this.left += cut;
    this.text = this.text.slice(cut);
  }

  get empty(): boolean {
    return this.text === "" && this.left === 0;
  }

  /** The next portion, with a line about what was left out before it. */
  take(): string {
    let note = "";
    if (this.left > 0) {
      // Colours and modes that the missing part may have set end here.
      note = `\x1b[0m\r\n\x1b[2m… ${sizeOf(this.left)} not shown here; “loomd: Save Output…” has all of it …\x1b[0m\r\n`;
      this.left = 0;
    }
    let end = Math.min(PORTION, this.text.length);
    if (end < this.text.length && isLowSurrogate(this.text.charCodeAt(end))) end--;
    const portion = this.text.slice(0, end);
    this.text = this.text.slice(end);
    return note + portion;
  }
}

const isLowSurrogate = (unit: number) => unit >= 0xdc00 && unit <= 0xdfff;

/** A terminal wants CR LF where a program wrote LF into a pipe. Remembers a CR at the end of one piece. */
export class Newlines {
  private carriage = false;

  convert(text: string): string {
    const whole = text.replace(/\r?\n/g, (_, at: number) => (at === 0 && this.carriage && text[0] === "\n" ? "\n" : "\r\n"));
    this.carriage = text.endsWith("\r");
    return whole;
  }
}
